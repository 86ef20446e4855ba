-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim, ttl, grace (seconds). Returns 1 if there is such a claim.

local id, ttl, grace = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local _, former_end, places = live_claim(id)
if not places then
    return {OK, 0}
end
local ends = now + ttl * 1000
local raised, shown = ends + grace * 1000, text(ttl + grace)
local seqs, records = held(id, former_end, places)
local blobs = values(own.messages, seqs)
local claimed, hash, prolonged = {}, {}, {}
for place, seq in ipairs(seqs) do
    local count, life, life_shown, exhausted = parse(records[place])
    local death = life > 0 and life
        or tonumber(string.sub(blobs[place], 17, 31))
    if death < ends then
        life, life_shown = raised, shown
        prolonged[#prolonged + 1] = text(raised)
        prolonged[#prolonged + 1] = seq
    end
    claimed[#claimed + 1] = text(ends)
    claimed[#claimed + 1] = seq
    hash[#hash + 1] = seq
    hash[#hash + 1] = format(count, life, life_shown, exhausted, ends, id)
end
each('ZADD', own.expiry, prolonged)
each('ZADD', own.claimed, claimed)
each('HSET', own.touched, hash)
store_claim(id, text(ttl), ends, seqs)
extend_ttl(own, raised)
match_ttl(own, own.claimed, own.touched, own.claims, own.lapses, own.letters,
    own.beside)
match_ttl_of_groups(own)
return {OK, 1}
