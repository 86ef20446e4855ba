-- SPDX-License-Identifier: Apache-2.0
--
-- KEYS: hash of records by name, their names in order. ARGV: lower bound,
-- limit. Returns names and records.

local names = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+',
    'LIMIT', 0, ARGV[2])
local answer = {}
for first = 1, #names, 1000 do
    local last = math.min(first + 999, #names)
    local part = redis.call('HMGET', KEYS[1], unpack(names, first, last))
    for place = 1, #part do
        answer[#answer + 1] = names[first + place - 1]
        answer[#answer + 1] = part[place]
    end
end
return answer
