-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, limit. Returns messages.

local limit = tonumber(ARGV[3])
local budget = tonumber(ARGV[2])
remove(due(own.expiry, budget))
close_claims(own, budget)
if not free_due(own, budget) then
    return {AGAIN}
end
local answer, seqs, dead = {OK}, {}, {}
local has_delayed = call('EXISTS', own.delayed) == 1
local following = free_places(math.min(limit, 500), false, has_delayed)
while #seqs < limit do
    local size = math.min(limit - #seqs, 500)
    local page = following(size)
    local blobs = values(own.messages, page)
    local records = values(own.touched, page)
    for place, seq in ipairs(page) do
        if not blobs[place] or is_dead(blobs[place], records[place]) then
            dead[#dead + 1] = seq
        else
            seqs[#seqs + 1] = seq
            show(answer, seq, blobs[place], records[place])
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
remove(seqs)
return answer
