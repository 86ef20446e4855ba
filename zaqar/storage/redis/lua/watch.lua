-- SPDX-License-Identifier: Apache-2.0
--
-- Have posts announced to who has subscribed to the channel of the queue,
-- until a post finds nobody there.
--
-- KEYS: only the state. ARGV: 0, PUBLISH or SPUBLISH, the queue. Returns the
-- queue, and 1 if posts were not announced before.

local is_new = publish ~= ARGV[2]
if is_new then
    call('HSET', own.state, 'publish', ARGV[2])
end
return {OK, ARGV[3], is_new and 1 or 0}
