-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, milliseconds that the tombstone stands.

call('UNLINK', unpack(KEYS))
call('HSET', own.state, 'gone', ARGV[1])
call('PEXPIRE', own.state, ARGV[2])
return {OK}
