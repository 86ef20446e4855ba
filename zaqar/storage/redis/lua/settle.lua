-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim, count, ids; and unless all of them are to be deleted, for
-- each: 'd' to delete, 'f' to free, 'e' to extend it, end of its delay or hold
-- or '', seconds of that, '1' if its last hand-out does not count, '1' if it
-- has a reason, reason.
-- Returns 1 if there is such a claim, and numbers of messages that it held.

local id, count = ARGV[2], tonumber(ARGV[3])
local ttl, former_end, places = live_claim(id)
local seqs, records = {}, {}
if places then
    seqs, records = held(id, former_end, places)
end
if #seqs == 0 then
    return {OK, 0}
end
-- What the claim holds, and of what is extended the ends, by place.
local holds, ends = {}, {}
for place, seq in ipairs(seqs) do
    holds[seq] = records[place]
end

local answer = {OK, 1}
local deleted = {}
local freed, delayed, waiting, let_go
local hash, plain, claimed, prolonged, reasons
local last = 0
local extend, let_free

local deletes_all = ARGV[4 + count] == nil
if not deletes_all then
    freed, delayed, waiting, let_go = {}, {}, {}, {}
    hash, plain, claimed, prolonged, reasons = {}, {}, {}, {}, {}

    function extend(seq, blob, record, moment, seconds)
        local times, life, shown, exhausted = parse(record)
        local death = life > 0 and life or tonumber(string.sub(blob, 17, 31))
        if death < moment then
            life, shown = moment, seconds
            prolonged[#prolonged + 1] = text(life)
            prolonged[#prolonged + 1] = seq
            last = math.max(last, life)
        end
        claimed[#claimed + 1] = text(moment)
        claimed[#claimed + 1] = seq
        hash[#hash + 1] = seq
        hash[#hash + 1] = format(times, life, shown, exhausted, moment, id)
    end

    function let_free(seq, record, moment, is_uncounted)
        let_go[#let_go + 1] = seq
        if moment then
            delayed[#delayed + 1] = text(moment)
            delayed[#delayed + 1] = seq
            waiting[#waiting + 1] = seq
            waiting[#waiting + 1] = seq
        else
            freed[#freed + 1] = seq
        end
        local times, life, shown = parse(record)
        if is_uncounted then
            times = math.max(times - 1, 0)
        end
        if times == 0 and life == 0 then
            plain[#plain + 1] = seq
        else
            hash[#hash + 1] = seq
            hash[#hash + 1] = format(times, life, shown, '0', 0, '')
        end
    end
end

find(3, count, function(seq, blob, record, number)
    if not holds[seq] then
        return
    end
    answer[#answer + 1] = number
    local at = 3 + count + number * 6 - 5
    local act = deletes_all and 'd' or ARGV[at]
    local moment = tonumber(ARGV[at + 1])
    if act == 'd' then
        holds[seq] = nil
        deleted[#deleted + 1] = seq
    elseif act == 'e' then
        ends[seq] = moment
        extend(seq, blob, record, moment, ARGV[at + 2])
    else
        holds[seq] = nil
        let_free(seq, record, moment, ARGV[at + 3] == '1')
        if ARGV[at + 4] == '1' then
            reasons[#reasons + 1] = 'r' .. seq
            reasons[#reasons + 1] = ARGV[at + 5]
        end
    end
end, holds)

remove(deleted)
if not deletes_all then
    each('HSET', own.touched, hash)
    each('HDEL', own.touched, plain)
    each('HSET', own.beside, reasons)
    each('ZREM', own.claimed, let_go)
    each('ZADD', own.claimed, claimed)
    each('ZADD', own.expiry, prolonged)
    each('ZADD', own.delayed, delayed)
    each('ZADD', own.waiting, waiting)
    free(own, freed)
end

local latest, entry = 0, {}
for place, seq in ipairs(seqs) do
    if holds[seq] then
        local _, _, _, _, moment = parse(records[place])
        latest = math.max(latest, ends[seq] or moment)
        entry[#entry + 1] = seq
    end
end
store_claim(id, ttl, latest, entry)
if last > 0 then
    extend_ttl(own, last)
end
if #deleted < #answer - 2 then
    match_ttl(own, own.claimed, own.touched, own.delayed, own.waiting,
        own.claims, own.lapses, own.letters, own.beside)
    match_ttl_of_groups(own)
end
if freed and #freed > 0 or has_freed_group then
    announce(0)
end
return answer
