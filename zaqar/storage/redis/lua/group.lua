-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, group. Returns when the last hold of its messages ends, or 0.

return {OK, text(hold_end(own, ARGV[2]))}
