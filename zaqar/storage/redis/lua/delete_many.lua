-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, number of claims or -1 for whatever the claim, claims, number of
-- messages, ids.

local count, claims = tonumber(ARGV[2]), {}
for number = 1, count do
    local claim = ARGV[2 + number]
    if not live_claim(claim) then
        return {UNKNOWN}
    end
    claims[claim] = true
end
local at, seqs, is_held = 3 + math.max(count, 0), {}, true
find(at, tonumber(ARGV[at]), function(seq, _, record)
    seqs[#seqs + 1] = seq
    is_held = is_held and (count < 0 or claims[holder(record)])
end)
if not is_held then
    return {CLAIMED}
end
remove(seqs)
if has_freed_group then
    announce(0)
end
return {OK}
