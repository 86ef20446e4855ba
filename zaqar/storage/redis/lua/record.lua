-- SPDX-License-Identifier: Apache-2.0
--
-- A change of a record. KEYS: hash of records by name, their names in order.
-- ARGV: what to do, name, JSON text, version ('' for any), '1' when it is done
-- again.
-- A record is its version, a blank and its text.

local call = redis.call
local act, name, data, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stored = call('HGET', KEYS[1], name)
local is_expected = stored
    and (version == '' or string.match(stored, '^%d+') == version)

if act == 'delete' then
    if not is_expected then
        return nil
    end
    call('HDEL', KEYS[1], name)
    call('ZREM', KEYS[2], name)
    return stored
end
local wanted = act == 'create' and '1'
    or string.format('%.0f', tonumber(version) + 1)
wanted = wanted .. ' ' .. data
-- Done again, it must not take its own first try for somebody else's.
if ARGV[5] == '1' and stored == wanted then
    return 1
end
if act == 'create' then
    if stored then
        return 0
    end
    call('ZADD', KEYS[2], 0, name)
elseif not is_expected then
    return 0
end
call('HSET', KEYS[1], name, wanted)
return 1
