-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, most rows to remove. Returns how many were removed.

local most = tonumber(ARGV[2])
local dead = due(own.expiry, most)
remove(dead)
return {OK, #dead + close_claims(own, most - #dead)}
