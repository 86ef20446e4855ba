-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, least version of metadata that may be used.

if tonumber(least or 0) < tonumber(ARGV[2]) then
    call('HSET', own.state, 'least', ARGV[2])
end
return {OK}
