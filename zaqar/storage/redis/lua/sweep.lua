-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, most rows to remove. Returns how many were removed.

local most = tonumber(ARGV[2])
local dead = due(own.expiry, most)
bury(own, dead)
return {OK, #dead + close(own, most - #dead)}
