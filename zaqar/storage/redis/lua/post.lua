-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, limit, whether to store a notice (0: no, 1: yes, but none is
-- passed, 2: yes, the next group, 3: another call does), version of the
-- metadata or '', for which messages the notice is or '' for all, then a group
-- for the post; a group for the notice, whose queue has the KEYS behind those
-- of the post, without what a post takes of its own queue only.
-- Returns what the token leads to, the mark, for another call the numbers of
-- messages that have no notice yet, and 1 if the token was known.
--
-- A group: token, '' for a notice; random halves, latest expiry, ids of dead
-- letters or '', count, number of things beside bodies, terms or '', and for
-- each message: end of its delay or '', message; for each thing: letter,
-- number of the message, thing; where ids of duplicates are remembered, that
-- of each message or ''.
--
-- Terms, of posts that are compared with others by more than a random token:
-- milliseconds for which the token is remembered if there is a fingerprint,
-- the same for ids of duplicates or 0, fingerprint or '', with blanks.
--
-- What a token leads to: the first place and the random halves; or "=", the
-- numbers of the messages that were stored, with commas, and all ids; behind
-- these, where a post with a fingerprint has stored nothing, an id that stands
-- for it (ids_of_repeated_posts.py).

local HEAD, GROUP = 5, 7

local limit, notice = tonumber(ARGV[2]), ARGV[3]
mark = mark or '1'

local life, window, print = 0, 0, ''
local known, learn, forget, fresh, learn_ids, unnoticed

-- Functions that most posts do not need are not made for them.
if ARGV[HEAD + 7] ~= '' then
    life, window, print =
        string.match(ARGV[HEAD + 7], '^(%d+) (%d+) (.*)$')
    life, window = tonumber(life), tonumber(window)

    -- Entries of "known": the end, a blank, and what it leads to. Those of
    -- tokens begin with "t", those of duplicates with "d", and there is one
    -- with "n" as long as the message has no notice that another call has to
    -- store.
    function known(name)
        local entry = call('HGET', own.known, name)
        local ends, value = string.match(entry or '', '^(%d+) (.*)$')
        if ends and tonumber(ends) > now then
            return value
        end
        return nil
    end

    function learn(name, period, value)
        local ends = text(now + period)
        call('HSET', own.known, name, ends .. ' ' .. value)
        call('ZADD', own.known_ends, ends, name)
        for _, key in ipairs({own.known, own.known_ends}) do
            if call('PTTL', key) < period then
                call('PEXPIRE', key, period + HOUR)
            end
        end
    end

    function forget(count)
        local ended = due(own.known_ends, math.min(count, CHUNK))
        each('HDEL', own.known, ended)
        each('ZREM', own.known_ends, ended)
    end

    -- Where the ids of duplicates begin.
    local count = tonumber(ARGV[HEAD + 5])
    local base = HEAD + GROUP + count * 2 + tonumber(ARGV[HEAD + 6]) * 3

    -- Return the numbers of the messages that are no duplicates, and for the
    -- others the id of the first one, or its number if it is in the same
    -- group; nothing where no duplicates are looked for.
    function fresh()
        if window == 0 then
            return nil
        end
        local numbers, same, first = {}, {}, {}
        for number = 1, count do
            local name = ARGV[base + number]
            local id = name ~= '' and (first[name] or known('d' .. name))
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

    -- Return what the token of a group with duplicates leads to; remember
    -- those that are none.
    function learn_ids(first, numbers, same, names)
        local halves, ids = ARGV[HEAD + 2], {}
        for place, number in ipairs(numbers) do
            local half = string.sub(halves, number * 16 - 15, number * 16)
            ids[number] = string.format('%016x', first + place - 1) .. half
        end
        for number, id in pairs(same) do
            ids[number] = type(id) == 'number' and ids[id] or id
        end
        for name, number in pairs(names) do
            learn('d' .. name, window, ids[number])
            if notice == '3' and mark ~= '0' then
                learn('n' .. name, window, '')
            end
        end
        return '=' .. table.concat(numbers, ',') .. ' ' .. table.concat(ids)
    end

    -- Return the numbers of the messages that may have duplicates and have no
    -- notice yet, with commas: those of this post, and those of one that may
    -- have got no further.
    function unnoticed()
        local numbers, seen = {}, {}
        for number = 1, notice == '3' and window > 0 and count or 0 do
            local name = ARGV[base + number]
            if name ~= '' and not seen[name] and known('n' .. name) then
                numbers[#numbers + 1] = number
            end
            seen[name] = true
        end
        return table.concat(numbers, ',')
    end
end

-- Return what the token of the post leads to, and whether it is that of
-- another post.
local function stored()
    local token = ARGV[HEAD + 1]
    if print ~= '' then
        local value = known('t' .. token)
        local own_print, record = string.match(value or '', '^(%S+) (.*)$')
        return record, record and own_print ~= print
    end
    return call('HGET', own.tokens, token)
        or call('HGET', own.old_tokens, token)
        or ARGV[HEAD + 4] ~= '' and call('HGET', own.letters, 't' .. token)
end

local function remember(record)
    if print ~= '' then
        learn('t' .. ARGV[HEAD + 1], life, print .. ' ' .. record)
        return
    end
    call('HSET', own.tokens, ARGV[HEAD + 1], record)
    if call('PTTL', own.tokens) < 0 then
        -- Kept for longer than it is read: ten to twenty minutes.
        call('PEXPIRE', own.tokens, HOUR)
    end
end

-- Store messages of a group: those of these numbers, or all. Returns how many
-- of them are free.
local function store(q, first, at, count, numbers, groups)
    local unheld, touched = 0, nil
    for begin = 1, count, CHUNK / 2 do
        local hash, all, expiry, ready = {}, {}, {}, {}
        local later, waiting, lined, lanes
        for place = begin, math.min(begin + CHUNK / 2 - 1, count) do
            local number = numbers and numbers[place] or place
            local wakes, blob = ARGV[at + number * 2 - 1], ARGV[at + number * 2]
            local seq = text(first + place - 1)
            local to = #all
            hash[to + 1], hash[to + 2] = seq, blob
            all[to + 1], all[to + 2] = seq, seq
            expiry[to + 1] = string.sub(blob, 17, 31)
            expiry[to + 2] = seq
            local list, group = ready, groups and groups[number]
            if group then
                touched, lanes = touched or {}, lanes or {}
                touched[group] = true
                lanes[#lanes + 1] = 0
                lanes[#lanes + 1] = in_lane(group, seq)
                lined = lined or {}
                list = lined
            end
            if wakes == '' then
                list[#list + 1] = seq
                list[#list + 1] = seq
                unheld = unheld + 1
            else
                later, waiting = later or {}, waiting or {}
                later[#later + 1] = wakes
                later[#later + 1] = seq
                waiting[#waiting + 1] = seq
                waiting[#waiting + 1] = seq
            end
        end
        call('HSET', q.messages, unpack(hash))
        call('ZADD', q.all, unpack(all))
        call('ZADD', q.expiry, unpack(expiry))
        each('ZADD', q.free, ready)
        if later then
            each('ZADD', q.delayed, later)
            each('ZADD', q.waiting, waiting)
        end
        if lanes then
            each('ZADD', q.lined, lined)
            each('ZADD', q.lanes, lanes)
        end
    end
    if touched then
        regroup(q, touched)
    end
    return unheld
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
        local size = tonumber(bytes)
        for place = 1, more do
            local number = numbers and numbers[place] or place
            size = size + #ARGV[at + GROUP + number * 2]
        end
        bytes = text(size)
        call('HSET', q.state, 'next', behind_last, 'posted', total,
            'bytes', bytes)
    else
        call('HSET', q.state, 'next', behind_last, 'posted', total)
    end
    local things, groups = tonumber(ARGV[at + 6]), nil
    if things > 0 then
        local places, hash, behind = {}, {}, at + GROUP + count * 2
        for place, number in ipairs(numbers or {}) do
            places[number] = first + place - 1
        end
        groups = {}
        for thing = behind + 1, behind + things * 3, 3 do
            local letter, number = ARGV[thing], tonumber(ARGV[thing + 1])
            local place = not numbers and first + number - 1 or places[number]
            if place then
                hash[#hash + 1] = letter .. text(place)
                hash[#hash + 1] = ARGV[thing + 2]
            end
            if letter == 'g' then
                groups[number] = ARGV[thing + 2]
            end
        end
        each('HSET', q.beside, hash)
    end
    local unheld = store(q, first, at + GROUP, more, numbers, groups)
    local record
    if q == own then
        -- A notice is stored in the same step: its post is known by its token.
        record = numbers and learn_ids(first, numbers, same, names)
            or text(first) .. ' ' .. halves
        remember(record)
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

local record, is_another = stored()
if is_another then
    return {REUSED}
elseif record then
    return {OK, record, mark, unnoticed and unnoticed() or '', 1}
end
if is_stale(ARGV[4]) then
    return {STALE}
end
local count = tonumber(ARGV[HEAD + 5])
local numbers, same, names
if fresh then
    numbers, same, names = fresh()
end
local wanted = numbers and table.concat(numbers, ',') or ''
if mark ~= '0' and (notice == '1' or notice == '2' and wanted ~= ARGV[5]) then
    return {AGAIN, mark, wanted}
end
-- A post removes as many expired messages: an unread queue does not grow.
remove(due(own.expiry, math.min(count + 1, CHUNK)))
if forget then
    forget(count + 1)
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
    record = learn_ids(0, numbers, same, names)
    if print == '' then
        remember(record)
    else
        remember(record .. string.rep('0', 16)
            .. string.sub(ARGV[HEAD + 2], 1, 16))
    end
    return {OK, record, mark, unnoticed(), 0}
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
announce_in(own.state, publish, unheld)
return {OK, record, mark, unnoticed and unnoticed() or '', 0}
