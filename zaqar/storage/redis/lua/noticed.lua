-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, ids by which duplicates are recognized. The notice of the
-- messages that were posted with them is stored.

local names = {}
for number = 2, #ARGV do
    names[number - 1] = 'n' .. ARGV[number]
end
each('HDEL', own.known, names)
each('ZREM', own.known_ends, names)
return {OK}
