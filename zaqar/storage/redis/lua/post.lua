-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, limit, whether to store a notice (0: no, 1: yes, but none is
-- passed, 2: yes, the next group), version of the metadata or '', then a group
-- for the post: token, random halves, latest expiry, ids of dead letters or
-- '', count, number of things beside bodies, and for each message: end of its
-- delay or '', message; for each thing: letter, number of the message, thing;
-- a group for the notice, whose queue is that of the second set of KEYS.

local function stored(q, token)
    return call('HGET', q.tokens, token)
        or call('HGET', q.old_tokens, token)
        or call('HGET', q.letters, 't' .. token)
end

local function remember(q, token, record)
    call('HSET', q.tokens, token, record)
    if call('PTTL', q.tokens) < 0 then
        -- Kept for longer than it is read: ten to twenty minutes.
        call('PEXPIRE', q.tokens, HOUR)
    end
end

-- Returns how many of the messages are free.
local function store(q, first, at, count)
    local unheld = 0
    local hash, all, expiry = {}, {}, {}
    local ready, later, waiting = {}, {}, {}
    local function flush()
        each('HSET', q.messages, hash)
        each('ZADD', q.all, all)
        each('ZADD', q.expiry, expiry)
        each('ZADD', q.free, ready)
        each('ZADD', q.delayed, later)
        each('ZADD', q.waiting, waiting)
        hash, all, expiry = {}, {}, {}
        ready, later, waiting = {}, {}, {}
    end
    local function put(list, score, member)
        list[#list + 1] = score
        list[#list + 1] = member
    end
    for number = 1, count do
        local wakes, blob = ARGV[at + number * 2 - 1], ARGV[at + number * 2]
        local seq = text(first + number - 1)
        put(hash, seq, blob)
        put(all, seq, seq)
        put(expiry, tonumber(string.sub(blob, 17, 31)), seq)
        if wakes == '' then
            put(ready, seq, seq)
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
    return unheld
end

local function store_beside(q, first, at, count)
    local hash = {}
    for number = 0, count - 1 do
        local place = first + tonumber(ARGV[at + number * 3 + 2]) - 1
        hash[#hash + 1] = ARGV[at + number * 3 + 1] .. text(place)
        hash[#hash + 1] = ARGV[at + number * 3 + 3]
    end
    each('HSET', q.beside, hash)
end

-- Store the group that begins behind ARGV[at]. Returns what its token leads to
-- and how many of its messages are free.
local function append(q, at)
    local token, halves, death = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local letters, count = ARGV[at + 4], tonumber(ARGV[at + 5])
    -- Numbers are no less than the current microsecond, so that after a loss
    -- of data, all of it or the last second, old markers stay behind new
    -- messages.
    local last, posted = unpack(call('HMGET', q.state, 'next', 'posted'))
    local first = math.max(tonumber(last or 0), now * 1000)
    call('HSET', q.state, 'next', text(first + count),
        'posted', text(tonumber(posted or 0) + count))
    local record = text(first) .. ' ' .. halves
    local unheld = store(q, first, at + 6, count)
    store_beside(q, first, at + 6 + count * 2, tonumber(ARGV[at + 6]))
    remember(q, token, record)
    for number = 1, #letters / 32 do
        local letter = string.sub(letters, number * 32 - 31, number * 32)
        local seq = text(first + number - 1)
        call('HSET', q.letters, 'i' .. letter, seq, 't' .. token, record,
            'r' .. seq, letter .. ' ' .. token)
    end
    extend_ttl(q, tonumber(death))
    match_ttl(q, q.free, q.delayed, q.waiting, q.letters, q.beside)
    return record, unheld
end

local limit, notice = tonumber(ARGV[2]), ARGV[3]
local mark = call('HGET', own.state, 'mark') or '1'
local record = stored(own, ARGV[5])
if record then
    return {OK, record, mark}
end
if is_stale(ARGV[4]) then
    return {STALE}
end
if mark ~= '0' and notice == '1' then
    return {AGAIN, mark}
end
local count = tonumber(ARGV[9])
-- A post removes as many expired messages: an unread queue does not grow.
remove(own, due(own.expiry, math.min(count + 1, CHUNK)))
if limit > 0 then
    local live = call('ZCARD', own.all)
        - call('ZCOUNT', own.expiry, '-inf', ARGV[1])
    if live + count > limit then
        return {FULL, live}
    end
end
local unheld
record, unheld = append(own, 4)
if mark ~= '0' and notice == '2' then
    local at = 10 + count * 2 + tonumber(ARGV[10]) * 3
    local outbox = named(15)
    if not stored(outbox, ARGV[at + 1]) then
        append(outbox, at)
    end
end
announce(unheld)
return {OK, record, mark}
