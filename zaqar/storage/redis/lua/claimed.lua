-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim. Returns ttl, end and messages.

local ttl, ends, known = look_up(ARGV[2])
local answer = {OK, ttl, ends}
if known then
    local seqs, records = held(ARGV[2], known)
    for place, blob in ipairs(values(own.messages, seqs)) do
        show(answer, seqs[place], blob, records[place])
    end
end
return answer
