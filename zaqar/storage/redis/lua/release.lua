-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim.

local id = ARGV[2]
local _, ends, places = live_claim(id)
if places then
    local seqs, records = held(id, ends, places)
    local hash, plain = {}, {}
    for place, seq in ipairs(seqs) do
        local record = records[place]
        if string.match(record, '^0 0 ') then
            plain[#plain + 1] = seq
        else
            -- What "format" makes without a claim.
            hash[#hash + 1] = seq
            hash[#hash + 1] = string.match(record, '^%d+ %d+ %d+ ') .. '0 0 '
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
