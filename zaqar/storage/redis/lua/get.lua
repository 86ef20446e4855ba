-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, count, ids.

local answer = {OK}
find(2, tonumber(ARGV[2]), function(seq, blob, record)
    show(answer, seq, blob, with_delay(seq, record))
end)
return answer
