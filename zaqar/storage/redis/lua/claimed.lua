-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim. Returns ttl, end and messages.

local ttl, ends, places = live_claim(ARGV[2])
local answer = {OK, ttl, ends}
if places then
    local seqs, records = held(ARGV[2], ends, places)
    for place, blob in ipairs(values(own.messages, seqs)) do
        show(answer, seqs[place], blob, records[place])
    end
end
return answer
