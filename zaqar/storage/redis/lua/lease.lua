-- SPDX-License-Identifier: Apache-2.0
--
-- KEYS: the lease. ARGV: 'take' or 'give', whose it is, milliseconds.

local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[2] then
    return 0
elseif ARGV[1] == 'take' then
    -- A full server takes a SET only after a command that frees memory.
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
    redis.call('DEL', KEYS[1])
end
return 1
