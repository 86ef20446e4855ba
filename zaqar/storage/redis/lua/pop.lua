-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, limit. Returns messages.

local limit = tonumber(ARGV[3])
local budget = tonumber(ARGV[2])
bury(own, due(own.expiry, budget))
close(own, budget)
if not advance(own, budget) then
    return {AGAIN}
end
local answer, seqs, dead, after = {OK}, {}, {}, '-inf'
while #seqs < limit do
    local size = math.min(limit - #seqs, 500)
    local found = call('ZRANGEBYSCORE', own.free, after, '+inf',
        'LIMIT', 0, size)
    local blobs = values(own.messages, found)
    local records = values(own.touched, found)
    for place, seq in ipairs(found) do
        if not blobs[place] or is_dead(blobs[place], records[place]) then
            dead[#dead + 1] = seq
        else
            seqs[#seqs + 1] = seq
            show(answer, seq, blobs[place], records[place])
        end
    end
    if #found < size then
        break
    elseif #dead >= CHUNK then
        bury(own, dead)
        return {AGAIN}
    end
    after = '(' .. found[#found]
end
bury(own, dead)
bury(own, seqs)
return answer
