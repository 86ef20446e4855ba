-- SPDX-License-Identifier: Apache-2.0
--
-- The common part of all scripts of a queue.
--
-- KEYS are those of key_names.py that the script names, all in one slot: the
-- others are left out (scripts.py). ARGV[1] is now. Moments are milliseconds; a
-- message is known by its place in the queue, a decimal number. Bodies are
-- never parsed: what scripts need of a message is at fixed offsets before it
-- (message_codec.py).

local call = redis.call

local OK, AGAIN, GONE, FULL, CLAIMED, INVALID, UNKNOWN = 0, 1, 2, 3, 4, 5, 6
local STALE, REUSED = 7, 8

-- How many KEYS there are of its own queue; scripts.py puts the number in.
local KEYS_OF_QUEUE = 0

-- Arguments of one command, at most: Lua's stack holds 8000.
local CHUNK = 1000
local HOUR = 3600000

local now = tonumber(ARGV[1])

-- The numbers are those among all keys, which scripts.py replaces.
local function named(at)
    return {
        state = KEYS[at + 1], messages = KEYS[at + 2], all = KEYS[at + 3],
        free = KEYS[at + 4], claimed = KEYS[at + 5], delayed = KEYS[at + 6],
        waiting = KEYS[at + 7], expiry = KEYS[at + 8],
        touched = KEYS[at + 9], claims = KEYS[at + 10],
        lapses = KEYS[at + 11], letters = KEYS[at + 12],
        beside = KEYS[at + 13],
        known = KEYS[at + 14], known_ends = KEYS[at + 15],
        lanes = KEYS[at + 16], lined = KEYS[at + 17], ready = KEYS[at + 18],
        reached = KEYS[at + 19],
        tokens = KEYS[at + 20], old_tokens = KEYS[at + 21],
    }
end

local own = named(0)

-- What scripts need of the state, read at once: whether the queue was dropped;
-- the command that announces posts, where processes wait for them; the least
-- version of metadata; the epoch of the flag that there may be subscribers;
-- the next place, how many messages were posted, and the bytes that the queue
-- holds, where they are counted.
local gone, publish, least, mark, next_place, posted, bytes = unpack(
    call('HMGET', own.state, 'gone', 'publish', 'least', 'mark', 'next',
        'posted', 'bytes'))

-- The plain form of "tostring" is exact up to 14 digits only.
local function text(number)
    return string.format('%.0f', number)
end

-- Return the place with which an id begins. No message is at a larger one than
-- a double holds exactly; an id from another queue may name one.
local function place_in(id)
    return text(math.min(tonumber(string.sub(id, 1, 16), 16), 2 ^ 53))
end

-- Run a command on a key with a list of any length. Returns its last answer.
local function each(command, key, list)
    local answer
    for first = 1, #list, CHUNK do
        local last = math.min(first + CHUNK - 1, #list)
        answer = call(command, key, unpack(list, first, last))
    end
    return answer
end

-- Return the values of a hash for a list of fields, false for missing ones.
local function values(key, fields)
    if #fields == 0 then
        return {}
    elseif #fields <= CHUNK then
        return call('HMGET', key, unpack(fields))
    end
    local result = {}
    for first = 1, #fields, CHUNK do
        local last = math.min(first + CHUNK - 1, #fields)
        local part = call('HMGET', key, unpack(fields, first, last))
        for place = 1, #part do
            result[#result + 1] = part[place]
        end
    end
    return result
end

-- How long the messages of the queue live, where that has been read.
local own_life

-- Let keys live as long as the messages, so that an idle queue expires.
-- Returns whether one lives longer now.
local function match_ttl(q, ...)
    local life = q == own and own_life or call('PTTL', q.messages)
    local is_longer = false
    for _, key in ipairs({...}) do
        local left = call('PTTL', key)
        -- Without a key it is -2.
        if left ~= -2 and left < life - HOUR then
            call('PEXPIRE', key, life)
            is_longer = true
        end
    end
    return is_longer
end

-- Let a queue live until an hour after a message has expired. Returns whether
-- it lives longer now. The three keys come, go and live together.
local function extend_ttl(q, death)
    local life = math.max(death - now, 0) + HOUR
    local left = call('PTTL', q.messages)
    local is_longer = left < life
    if is_longer then
        left = life + HOUR
        for _, key in ipairs({q.messages, q.all, q.expiry}) do
            call('PEXPIRE', key, left)
        end
    end
    if q == own then
        own_life = left
    end
    return is_longer
end

-- Parse what claims record of a message: how often it was handed out, its
-- prolonged expiry (0 if it was not) and the ttl shown since, whether its last
-- claim found it exhausted, the end of that claim and its id.
local function parse(record)
    if not record then
        return 0, 0, '0', '0', 0, ''
    end
    local count, raised, ttl, exhausted, ends, claim =
        string.match(record, '^(%d+) (%d+) (%d+) (%d) (%d+) (.*)$')
    return tonumber(count), tonumber(raised), ttl, exhausted,
        tonumber(ends), claim
end

local function format(count, raised, ttl, exhausted, ends, claim)
    return text(count) .. ' ' .. text(raised) .. ' ' .. ttl .. ' ' .. exhausted
        .. ' ' .. text(ends) .. ' ' .. claim
end

local function is_dead(blob, record)
    local raised = record and tonumber(string.match(record, '^%d+ (%d+)')) or 0
    if raised == 0 then
        raised = tonumber(string.sub(blob, 17, 31))
    end
    return raised <= now
end

-- Return the live claim that holds a message, or ''.
local function holder(record)
    local ends, claim =
        string.match(record or '', '^%d+ %d+ %d+ %d (%d+) (.*)$')
    return ends and tonumber(ends) > now and claim or ''
end

-- Remove the ids and tokens of dead letters.
local function forget_letters(seqs)
    local back, gone = {}, {}
    for place, seq in ipairs(seqs) do
        back[place] = 'r' .. seq
    end
    for place, entry in ipairs(values(own.letters, back)) do
        if entry then
            local id, token = string.match(entry, '^(%S+) (.*)$')
            gone[#gone + 1] = back[place]
            gone[#gone + 1] = 't' .. token
            -- It may have come again meanwhile.
            if call('HGET', own.letters, 'i' .. id) == seqs[place] then
                gone[#gone + 1] = 'i' .. id
            end
        end
    end
    each('HDEL', own.letters, gone)
end

-- What is stored beside bodies has a field of its own, by a letter and the
-- place of the message: g, its group; e, its extras; r, the last reason that a
-- worker gave. A program that knows none of them reads messages all the same.
local function beside(seqs)
    local fields = {}
    for _, seq in ipairs(seqs) do
        fields[#fields + 1] = 'g' .. seq
        fields[#fields + 1] = 'e' .. seq
        fields[#fields + 1] = 'r' .. seq
    end
    return fields
end

-- Return the group of each of some messages, false for none, or nothing if no
-- message has one.
local function groups_of(q, seqs)
    if call('EXISTS', q.lanes) == 0 then
        return nil
    end
    local fields = {}
    for place, seq in ipairs(seqs) do
        fields[place] = 'g' .. seq
    end
    return values(q.beside, fields)
end

-- Return the name of a message in the lane of its group: it sorts by place.
local function in_lane(group, seq)
    return group .. '\0' .. string.format('%020.0f', tonumber(seq))
end

local function seq_in(member)
    return text(tonumber(string.sub(member, -20)))
end

-- Return when the last hold of a group ends, 0 if none is held. No message
-- behind the last one that was handed out is.
local function hold_end(q, group)
    local last, ends = call('HGET', q.reached, group), 0
    local members = last and call('ZRANGEBYLEX', q.lanes,
        '[' .. group .. '\0', '[' .. in_lane(group, last)) or {}
    for _, member in ipairs(members) do
        local seq = seq_in(member)
        for _, key in ipairs({q.claimed, q.delayed}) do
            ends = math.max(ends, tonumber(call('ZSCORE', key, seq) or 0))
        end
    end
    return ends > now and ends or 0
end

-- Whether a group has become free.
local has_freed_group = false

-- Put groups whose messages have changed among the free ones, or take them
-- out. A group is busy while one of its messages is held; so it is freed with
-- the last one of them.
local function regroup(q, groups)
    for group in pairs(groups) do
        local member = call('ZRANGEBYLEX', q.lanes, '[' .. group .. '\0',
            '(' .. group .. '\1', 'LIMIT', 0, 1)[1]
        local head = member and seq_in(member)
        if not head then
            call('ZREM', q.ready, group)
            call('HDEL', q.reached, group)
        elseif hold_end(q, group) > 0
            or tonumber(call('ZSCORE', q.delayed, head) or 0) > now then
            call('ZREM', q.ready, group)
        elseif call('ZADD', q.ready, head, group) == 1 then
            has_freed_group = true
        end
    end
    match_ttl(q, q.lanes, q.lined, q.ready, q.reached)
end

-- Let what is stored of groups live as long as the messages.
local function match_ttl_of_groups(q)
    if call('EXISTS', q.lanes) == 1 then
        match_ttl(q, q.lanes, q.lined, q.ready, q.reached)
    end
end

-- Subtract messages that are about to be removed from the bytes of a queue, if
-- those are counted: as many as the mean of what it holds.
local function subtract_bytes(seqs)
    if bytes then
        local count = math.max(call('ZCARD', own.all), #seqs)
        bytes = text(math.floor(tonumber(bytes) * (1 - #seqs / count)))
        call('HSET', own.state, 'bytes', bytes)
    end
end

-- Remove messages.
local function remove(seqs)
    if #seqs == 0 then
        return
    end
    subtract_bytes(seqs)
    local groups
    if call('EXISTS', own.letters, own.lanes, own.beside) > 0 then
        forget_letters(seqs)
        groups = groups_of(own, seqs)
        each('HDEL', own.beside, beside(seqs))
    end
    each('HDEL', own.messages, seqs)
    each('HDEL', own.touched, seqs)
    each('ZREM', own.all, seqs)
    each('ZREM', own.expiry, seqs)
    -- What a claim holds is nowhere else.
    if each('ZREM', own.claimed, seqs) < #seqs then
        each('ZREM', own.free, seqs)
        each('ZREM', own.delayed, seqs)
        each('ZREM', own.waiting, seqs)
    end
    local gone, touched = {}, {}
    for place, group in ipairs(groups or {}) do
        if group then
            gone[#gone + 1] = in_lane(group, seqs[place])
            touched[group] = true
        end
    end
    if #gone > 0 then
        each('ZREM', own.lined, seqs)
        each('ZREM', own.lanes, gone)
        regroup(own, touched)
    end
end

-- Put messages back in their places among the free ones.
local function free(q, seqs)
    if #seqs == 0 then
        return
    end
    local placed, lined, touched = {}, {}, {}
    local groups = groups_of(q, seqs) or {}
    for place, seq in ipairs(seqs) do
        local list = placed
        if groups[place] then
            list = lined
            touched[groups[place]] = true
        end
        list[#list + 1] = seq
        list[#list + 1] = seq
    end
    each('ZADD', q.free, placed)
    match_ttl(q, q.free)
    if #lined > 0 then
        each('ZADD', q.lined, lined)
        regroup(q, touched)
    end
end

local function due(key, budget)
    return call('ZRANGEBYSCORE', key, '-inf', ARGV[1], 'LIMIT', 0, budget)
end

-- Remove claims that have ended.
local function close_claims(q, budget)
    local ended = due(q.lapses, budget)
    each('HDEL', q.claims, ended)
    each('ZREM', q.lapses, ended)
    return #ended
end

-- Free messages whose claim or delay has ended. Returns whether none is left
-- to free: a script takes a limited number of steps and is called again.
local function free_due(q, budget, has_no_delayed)
    local lapsed = due(q.claimed, budget)
    local woken = has_no_delayed and {} or due(q.delayed, budget)
    each('ZREM', q.claimed, lapsed)
    each('ZREM', q.delayed, woken)
    each('ZREM', q.waiting, woken)
    free(q, lapsed)
    free(q, woken)
    return #lapsed < budget and #woken < budget
end

-- Return what claims record of a message, and in the place of a claim, without
-- an id, its delay, if it has one.
local function with_delay(seq, record)
    local ends = call('ZSCORE', own.delayed, seq)
    if not ends then
        return record
    end
    local count, raised, ttl = parse(record)
    return format(count, raised, ttl, '0', tonumber(ends), '')
end

local has_beside
-- What was read together: groups, extras and reasons by places; false for none.
local read_groups, read_extras, read_reasons

-- Read what is stored beside the bodies of messages that are to be shown.
-- Groups of some of them may be known, by place.
local function read_beside(seqs, is_there, groups)
    has_beside = is_there
    if not has_beside then
        return
    end
    read_groups, read_extras, read_reasons = groups, {}, {}
    -- In most queues with groups these are all that there is.
    local are_all = call('HLEN', own.beside) == call('ZCARD', own.lanes)
    local fields = {}
    for _, seq in ipairs(seqs) do
        if not are_all then
            fields[#fields + 1] = 'e' .. seq
            fields[#fields + 1] = 'r' .. seq
        end
        if groups[seq] == nil then
            fields[#fields + 1] = 'g' .. seq
        end
    end
    local things, at = values(own.beside, fields), 1
    for _, seq in ipairs(seqs) do
        if not are_all then
            read_extras[seq], read_reasons[seq] = things[at], things[at + 1]
            at = at + 2
        end
        if groups[seq] == nil then
            groups[seq] = things[at]
            at = at + 1
        end
    end
end

local function size_of(thing)
    return thing and #thing or -1
end

-- Return what claims record of a message, and behind it what is stored beside
-- its body: a line with the length of each, -1 without it, and all of them.
local function with_beside(seq, record)
    if has_beside == nil then
        has_beside = call('EXISTS', own.beside) == 1
    end
    if not has_beside then
        return record
    end
    local group, extras, reason
    if read_groups then
        group = read_groups[seq]
        extras, reason = read_extras[seq], read_reasons[seq]
    else
        group, extras, reason = unpack(values(own.beside, beside({seq})))
    end
    if not (group or extras or reason) then
        return record
    end
    return (record or '') .. '\n' .. size_of(group) .. ' ' .. size_of(extras)
        .. ' ' .. size_of(reason) .. '\n' .. (group or '') .. (extras or '')
        .. (reason or '')
end

-- Add a message to an answer.
local function show(answer, seq, blob, record)
    answer[#answer + 1] = seq
    answer[#answer + 1] = blob
    answer[#answer + 1] = has_beside == false and record
        or with_beside(seq, record)
end

-- Find live messages by ids, which are in ARGV. Calls back with place, message,
-- record and number of each. Records that have been read can be passed by
-- place: those of what is held, hence lives.
local function find(at, count, visit, known)
    local seqs = {}
    for number = 1, count do
        seqs[number] = place_in(ARGV[at + number])
    end
    local blobs = values(own.messages, seqs)
    local records = known and {} or values(own.touched, seqs)
    for number = 1, count do
        local blob, seq, id = blobs[number], seqs[number], ARGV[at + number]
        local record = known and known[seq] or records[number]
        if not blob or string.sub(blob, 47, 47) ~= 'n'
            or string.sub(blob, 1, 16) ~= string.sub(id, 17) then
            -- A dead letter has an id of its own.
            seq = call('HGET', own.letters, 'i' .. id)
            blob = seq and call('HGET', own.messages, seq)
            record = blob and call('HGET', own.touched, seq)
        end
        if blob and (known and known[seq] or not is_dead(blob, record)) then
            visit(seq, blob, record, number)
        end
    end
end

-- Return ttl, end and places of a live claim, or nothing.
local function live_claim(claim)
    local entry = call('HGET', own.claims, claim)
    if not entry then
        return nil
    end
    local ttl, ends, rest = string.match(entry, '^(%d+) (%d+)(.*)$')
    if tonumber(ends) <= now then
        return nil
    end
    local seqs = {}
    for seq in string.gmatch(rest, '%d+') do
        seqs[#seqs + 1] = seq
    end
    return ttl, ends, seqs
end

-- Record what a claim holds, and when it ends; nothing is left of it without.
local function store_claim(claim, ttl, ends, seqs)
    if #seqs == 0 then
        call('HDEL', own.claims, claim)
        call('ZREM', own.lapses, claim)
        return
    end
    call('HSET', own.claims, claim,
        ttl .. ' ' .. text(ends) .. ' ' .. table.concat(seqs, ' '))
    call('ZADD', own.lapses, ends, claim)
end

-- Return those of some places that a live claim still holds, with their
-- records. Most are held until the claim ends, which records end with.
local function held(claim, ends, seqs)
    local places, records = {}, {}
    local usual = ' ' .. ends .. ' ' .. claim
    for place, record in ipairs(values(own.touched, seqs)) do
        if record and (string.find(record, usual, -#usual, true)
            or holder(record) == claim) then
            places[#places + 1] = seqs[place]
            records[#records + 1] = record
        end
    end
    return places, records
end

-- Tell whether metadata of a version, '' for any, must not be used any more.
local function is_stale(version)
    return version ~= '' and least and tonumber(least) > tonumber(version)
end

-- Notify processes that wait for messages: so many have been posted, or, with
-- 0, others have become available. The channel has the name of the state.
local function announce_in(state, command, count)
    if command then
        -- Who lacks the permission to publish can post nevertheless.
        if redis.pcall(command, state, count) == 0 then
            call('HDEL', state, 'publish')
        end
    end
end

local function announce(count)
    announce_in(own.state, publish, count)
end

if gone then
    return {GONE}
end
