-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, claim, ttl, grace (seconds), limit, most times a message
-- is handed out or 0, most exhausted ones, most of them to pass over, version
-- of the metadata or ''. If only some messages are to be taken: their count,
-- ids.
-- Returns ttl, end and messages.

local id, limit, most = ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[7])
local former_ttl, former_end, former = live_claim(id)
if former then
    -- The first answer was lost.
    local answer = {OK, former_ttl, former_end}
    local seqs, records = held(id, former_end, former)
    for place, blob in ipairs(values(own.messages, seqs)) do
        show(answer, seqs[place], blob, records[place])
    end
    return answer
end
if is_stale(ARGV[10]) then
    return {STALE}
end
local budget = tonumber(ARGV[2])
remove(due(own.expiry, budget))
close_claims(own, budget)
-- Most queues have no delayed message, no group that is free or becomes free,
-- and nothing beside bodies. A key counts as often as it is named: the delayed
-- ones twice.
local there = call('EXISTS', own.delayed, own.delayed, own.beside)
local has_delayed, is_plain = there > 1, there == 0
if not free_due(own, budget, not has_delayed) then
    return {AGAIN}
end
local ttl, grace = tonumber(ARGV[4]), tonumber(ARGV[5])
local ends = now + ttl * 1000
local raised, shown = ends + grace * 1000, text(ttl + grace)
local end_text = text(ends)
local by = ' ' .. end_text .. ' ' .. id

local seqs, blobs, records = {}, {}, {}
local prolonged, dead = {}, {}
local taken, exhausted, skipped = 0, 0, 0

local function take(seq, blob, record)
    local count, life, life_shown = parse(record)
    local is_exhausted = most > 0 and count >= most
    if is_exhausted then
        if exhausted == tonumber(ARGV[8]) then
            skipped = skipped + 1
            return
        end
        exhausted = exhausted + 1
    else
        taken = taken + 1
        count = count + 1
    end
    local death = life > 0 and life or tonumber(string.sub(blob, 17, 31))
    if death < ends then
        life, life_shown = raised, shown
        prolonged[#prolonged + 1] = text(raised)
        prolonged[#prolonged + 1] = seq
    end
    seqs[#seqs + 1] = seq
    blobs[#blobs + 1] = blob
    -- As "format" does it, with what is the same for all.
    records[#records + 1] = text(count) .. ' ' .. text(life) .. ' '
        .. life_shown .. (is_exhausted and ' 1' or ' 0') .. by
end

local function take_named(count)
    local named = {}
    find(11, count, function(seq, blob, record)
        if call('ZSCORE', own.free, seq) then
            named[#named + 1] = {seq, blob, record}
        end
    end)
    table.sort(named, function(one, other)
        return tonumber(one[1]) < tonumber(other[1])
    end)
    for place = 1, math.min(#named, limit) do
        take(unpack(named[place], 1, 3))
    end
end

if ARGV[11] then
    take_named(tonumber(ARGV[11]))
end
local following = free_places(math.min(limit, 500), is_plain, has_delayed)
while not ARGV[11] and taken < limit and skipped < tonumber(ARGV[9]) do
    local size = math.min(limit - taken, 500)
    local page = following(size)
    local bodies = values(own.messages, page)
    local marks = values(own.touched, page)
    for place, seq in ipairs(page) do
        if not bodies[place] or is_dead(bodies[place], marks[place]) then
            dead[#dead + 1] = seq
        else
            take(seq, bodies[place], marks[place])
        end
    end
    if #page < size then
        break
    elseif #dead >= CHUNK then
        remove(dead)
        return {AGAIN}
    end
end
remove(dead)
if #seqs == 0 then
    return {OK}
end

local ended, hash = {}, {}
read_beside(seqs, there % 2 == 1, known_groups)
local answer = {OK, text(ttl), end_text}
for place, seq in ipairs(seqs) do
    ended[#ended + 1] = end_text
    ended[#ended + 1] = seq
    hash[#hash + 1] = seq
    hash[#hash + 1] = records[place]
    show(answer, seq, blobs[place], records[place])
end
each('ZADD', own.expiry, prolonged)
occupy(seqs)
each('ZADD', own.claimed, ended)
each('HSET', own.touched, hash)
store_claim(id, text(ttl), ends, seqs)
local is_longer = extend_ttl(own, raised)
match_ttl(own, own.claimed, own.touched)
-- These two come, go and live together.
if match_ttl(own, own.claims) then
    match_ttl(own, own.lapses)
end
if is_longer then
    match_ttl(own, own.letters, own.beside)
    match_ttl_of_groups(own)
end
return answer
