-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim.

local id = ARGV[2]
local _, _, places = live_claim(id)
if places then
    local seqs, records = held(id, places)
    local hash, plain = {}, {}
    for place, seq in ipairs(seqs) do
        local count, life, shown = parse(records[place])
        if count == 0 and life == 0 then
            plain[#plain + 1] = seq
        else
            hash[#hash + 1] = seq
            hash[#hash + 1] = format(count, life, shown, '0', 0, '')
        end
    end
    each('HSET', own.touched, hash)
    each('HDEL', own.touched, plain)
    each('ZREM', own.claimed, seqs)
    free(own, seqs)
    if #seqs > 0 then
        announce(0)
    end
    store_claim(id, '', 0, {})
end
return {OK}
