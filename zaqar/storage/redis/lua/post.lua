-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, limit, whether to store a notice (0: no, 1: yes, but none is
-- passed, 2: yes, the next group, 3: another call does), version of the
-- metadata or '', for which messages the notice is or '' for all, then a group
-- for the post; a group for the notice, whose queue is that of the second set
-- of KEYS.
-- Returns what the token leads to, the mark, for another call the numbers of
-- messages that have no notice yet, and 1 if the token was known.
--
-- A group: token, random halves, latest expiry, ids of dead letters or '',
-- count, number of things beside bodies, fingerprint or '', milliseconds for
-- which the token is remembered then, the same for ids of duplicates or 0, and
-- for each message: end of its delay or '', message; for each thing: letter,
-- number of the message, thing; where ids of duplicates are remembered, that
-- of each message or ''.
--
-- What a token leads to: the first place and the random halves; or "=", the
-- numbers of the messages that were stored, with commas, and all ids.

local HEAD, GROUP = 5, 9

local limit, notice = tonumber(ARGV[2]), ARGV[3]
mark = mark or '1'

-- Entries of "known": the end, a blank, and what it leads to. Those of tokens
-- begin with "t", those of duplicates with "d", and there is one with "n" as
-- long as the message has no notice that another call has to store.
local function known(q, name)
    local entry = call('HGET', q.known, name)
    local ends, value = string.match(entry or '', '^(%d+) (.*)$')
    if ends and tonumber(ends) > now then
        return value
    end
    return nil
end

local function learn(q, name, life, value)
    local ends = text(now + life)
    call('HSET', q.known, name, ends .. ' ' .. value)
    call('ZADD', q.known_ends, ends, name)
    for _, key in ipairs({q.known, q.known_ends}) do
        if call('PTTL', key) < life then
            call('PEXPIRE', key, life + HOUR)
        end
    end
end

local function forget(q, count)
    local ended = due(q.known_ends, math.min(count, CHUNK))
    each('HDEL', q.known, ended)
    each('ZREM', q.known_ends, ended)
end

-- Return what the token of the group behind ARGV[at] leads to, and whether it
-- is that of another post.
local function stored(q, at)
    local token, print = ARGV[at + 1], ARGV[at + 7]
    if print ~= '' then
        local value = known(q, 't' .. token)
        local own_print, record = string.match(value or '', '^(%S+) (.*)$')
        return record, record and own_print ~= print
    end
    return call('HGET', q.tokens, token)
        or call('HGET', q.old_tokens, token)
        or call('HGET', q.letters, 't' .. token)
end

local function remember(q, at, record)
    local token, print = ARGV[at + 1], ARGV[at + 7]
    if print ~= '' then
        learn(q, 't' .. token, tonumber(ARGV[at + 8]), print .. ' ' .. record)
        return
    end
    call('HSET', q.tokens, token, record)
    if call('PTTL', q.tokens) < 0 then
        -- Kept for longer than it is read: ten to twenty minutes.
        call('PEXPIRE', q.tokens, HOUR)
    end
end

-- Return the groups of messages by their numbers.
local function groups_in(at, count)
    local groups = {}
    for number = 0, count - 1 do
        if ARGV[at + number * 3 + 1] == 'g' then
            groups[tonumber(ARGV[at + number * 3 + 2])] =
                ARGV[at + number * 3 + 3]
        end
    end
    return groups
end

-- Return the numbers of the messages that are no duplicates, and for the
-- others the id of the first one, or its number if it is in the same group;
-- nothing where no duplicates are looked for.
local function fresh(q, at)
    if ARGV[at + 9] == '0' then
        return nil
    end
    local count = tonumber(ARGV[at + 5])
    local base = at + GROUP + count * 2 + tonumber(ARGV[at + 6]) * 3
    local numbers, same, first = {}, {}, {}
    for number = 1, count do
        local name = ARGV[base + number]
        local id = name ~= '' and (first[name] or known(q, 'd' .. name))
        if id then
            same[number] = id
        else
            numbers[#numbers + 1] = number
            if name ~= '' then
                first[name] = number
            end
        end
    end
    return numbers, same, first
end

-- Store messages of a group: those of these numbers, or all. Returns how many
-- of them are free.
local function store(q, first, at, count, numbers, groups)
    local unheld = 0
    local hash, all, expiry = {}, {}, {}
    local ready, later, waiting = {}, {}, {}
    local lined, lanes, touched = {}, {}, {}
    local function flush()
        each('HSET', q.messages, hash)
        each('ZADD', q.all, all)
        each('ZADD', q.expiry, expiry)
        each('ZADD', q.free, ready)
        each('ZADD', q.delayed, later)
        each('ZADD', q.waiting, waiting)
        each('ZADD', q.lined, lined)
        each('ZADD', q.lanes, lanes)
        lined, lanes = {}, {}
        hash, all, expiry = {}, {}, {}
        ready, later, waiting = {}, {}, {}
    end
    local function put(list, score, member)
        list[#list + 1] = score
        list[#list + 1] = member
    end
    for place = 1, numbers and #numbers or count do
        local number = numbers and numbers[place] or place
        local wakes, blob = ARGV[at + number * 2 - 1], ARGV[at + number * 2]
        local seq = text(first + place - 1)
        put(hash, seq, blob)
        put(all, seq, seq)
        put(expiry, tonumber(string.sub(blob, 17, 31)), seq)
        local group = groups[number]
        if group then
            put(lanes, 0, in_lane(group, seq))
            touched[group] = true
        end
        if wakes == '' then
            put(group and lined or ready, seq, seq)
            unheld = unheld + 1
        else
            put(later, wakes, seq)
            put(waiting, seq, seq)
        end
        if #hash >= CHUNK then
            flush()
        end
    end
    flush()
    if next(touched) then
        regroup(q, touched)
    end
    return unheld
end

local function store_beside(q, at, count, place_of)
    local hash = {}
    for number = 0, count - 1 do
        local place = place_of(tonumber(ARGV[at + number * 3 + 2]))
        if place then
            hash[#hash + 1] = ARGV[at + number * 3 + 1] .. text(place)
            hash[#hash + 1] = ARGV[at + number * 3 + 3]
        end
    end
    each('HSET', q.beside, hash)
end

-- Return what the token of a group with duplicates leads to; remember those
-- that are none.
local function learn_ids(q, at, first, numbers, same, names)
    local halves, ids = ARGV[at + 2], {}
    for place, number in ipairs(numbers) do
        local half = string.sub(halves, number * 16 - 15, number * 16)
        ids[number] = string.format('%016x', first + place - 1) .. half
    end
    for number, id in pairs(same) do
        ids[number] = type(id) == 'number' and ids[id] or id
    end
    for name, number in pairs(names) do
        learn(q, 'd' .. name, tonumber(ARGV[at + 9]), ids[number])
        if notice == '3' and mark ~= '0' then
            learn(q, 'n' .. name, tonumber(ARGV[at + 9]), '')
        end
    end
    return '=' .. table.concat(numbers, ',') .. ' ' .. table.concat(ids)
end

-- Return the numbers of the messages that may have duplicates and have no
-- notice yet, with commas: those of this post, and those of one that may have
-- got no further.
local function unnoticed(q, at)
    local numbers, seen = {}, {}
    local count = tonumber(ARGV[at + 5])
    local base = at + GROUP + count * 2 + tonumber(ARGV[at + 6]) * 3
    for number = 1, ARGV[at + 9] == '0' and 0 or count do
        local name = ARGV[base + number]
        if name ~= '' and not seen[name] and known(q, 'n' .. name) then
            numbers[#numbers + 1] = number
        end
        seen[name] = true
    end
    return table.concat(numbers, ',')
end

-- Return the bytes of the messages of a group: those of these numbers, or all.
local function size_of(at, count, numbers)
    local size = 0
    for place = 1, numbers and #numbers or count do
        local number = numbers and numbers[place] or place
        size = size + #ARGV[at + GROUP + number * 2]
    end
    return size
end

-- Store the group that begins behind ARGV[at], or its messages of these
-- numbers, from the place behind the last one. Returns what its token leads to
-- and how many messages are free.
local function append(q, at, last, count_before, numbers, same, names)
    local halves, death = ARGV[at + 2], ARGV[at + 3]
    local letters, count = ARGV[at + 4], tonumber(ARGV[at + 5])
    -- Numbers are no less than the current microsecond, so that after a loss
    -- of data, all of it or the last second, old markers stay behind new
    -- messages.
    local more = numbers and #numbers or count
    local first = math.max(tonumber(last or 0), now * 1000)
    local behind_last = text(first + more)
    local total = text(tonumber(count_before or 0) + more)
    if q == own and bytes then
        bytes = text(tonumber(bytes) + size_of(at, count, numbers))
        call('HSET', q.state, 'next', behind_last, 'posted', total,
            'bytes', bytes)
    else
        call('HSET', q.state, 'next', behind_last, 'posted', total)
    end
    local record = text(first) .. ' ' .. halves
    local places = {}
    if numbers then
        record = learn_ids(q, at, first, numbers, same, names)
        for place, number in ipairs(numbers) do
            places[number] = first + place - 1
        end
    end
    local things, behind = tonumber(ARGV[at + 6]), at + GROUP + count * 2
    local unheld = store(q, first, at + GROUP, count, numbers,
        groups_in(behind, things))
    if things > 0 then
        store_beside(q, behind, things, function(number)
            if numbers then
                return places[number]
            end
            return first + number - 1
        end)
    end
    if q == own then
        -- A notice is stored in the same step: its post is known by its token.
        remember(q, at, record)
    end
    for number = 1, #letters / 32 do
        local letter = string.sub(letters, number * 32 - 31, number * 32)
        local seq = text(first + number - 1)
        call('HSET', q.letters, 'i' .. letter, seq, 't' .. ARGV[at + 1],
            record, 'r' .. seq, letter .. ' ' .. ARGV[at + 1])
    end
    if extend_ttl(q, tonumber(death)) then
        match_ttl(q, q.free, q.delayed, q.waiting, q.letters, q.beside)
        match_ttl_of_groups(q)
        return record, unheld
    end
    -- Keys that may be new.
    if unheld > 0 then
        match_ttl(q, q.free)
    end
    if unheld < more then
        match_ttl(q, q.delayed, q.waiting)
    end
    if letters ~= '' then
        match_ttl(q, q.letters)
    end
    if things > 0 then
        match_ttl(q, q.beside)
    end
    return record, unheld
end

local record, is_another = stored(own, HEAD)
if is_another then
    return {REUSED}
elseif record then
    local others = notice == '3' and unnoticed(own, HEAD) or ''
    return {OK, record, mark, others, 1}
end
if is_stale(ARGV[4]) then
    return {STALE}
end
local count = tonumber(ARGV[HEAD + 5])
local numbers, same, names = fresh(own, HEAD)
local wanted = numbers and table.concat(numbers, ',') or ''
if mark ~= '0' and (notice == '1' or notice == '2' and wanted ~= ARGV[5]) then
    return {AGAIN, mark, wanted}
end
-- A post removes as many expired messages: an unread queue does not grow.
remove(due(own.expiry, math.min(count + 1, CHUNK)))
if numbers or ARGV[HEAD + 7] ~= '' then
    forget(own, count + 1)
end
local more = numbers and #numbers or count
if limit > 0 and more > 0 then
    local live = call('ZCARD', own.all)
        - call('ZCOUNT', own.expiry, '-inf', ARGV[1])
    if live + more > limit then
        return {FULL, live}
    end
end
if more == 0 then
    record = learn_ids(own, HEAD, 0, numbers, same, names)
    remember(own, HEAD, record)
    local others = notice == '3' and unnoticed(own, HEAD) or ''
    return {OK, record, mark, others, 0}
end
local unheld
record, unheld = append(own, HEAD, next_place, posted, numbers, same, names)
if mark ~= '0' and notice == '2' then
    local at = HEAD + GROUP + count * 2 + tonumber(ARGV[HEAD + 6]) * 3
    if numbers then
        at = at + count
    end
    local outbox = named(KEYS_OF_QUEUE)
    local last, before, channel =
        unpack(call('HMGET', outbox.state, 'next', 'posted', 'publish'))
    append(outbox, at, last, before)
    announce_in(outbox.state, channel, 1)
end
announce(unheld)
return {OK, record, mark, notice == '3' and unnoticed(own, HEAD) or '', 0}
