-- SPDX-License-Identifier: Apache-2.0
--
-- The state stays, and with it sequence numbers and the mark; tokens stay as
-- well, so that no repeated post brings back what it had stored before.

call('UNLINK', own.messages, own.all, own.free, own.claimed, own.delayed,
    own.waiting, own.expiry, own.touched, own.claims, own.lapses, own.letters,
    own.beside, own.lanes, own.lined, own.ready, own.reached)
if bytes then
    call('HSET', own.state, 'bytes', '0')
end
return {OK}
