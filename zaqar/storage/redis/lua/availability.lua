-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget. Returns the number of free messages, the next place, and
-- when the first claim or delay ends, '' if none does; then 1 if there are
-- groups.

local last = next_place or '0'
if call('EXISTS', own.all) == 0 then
    return {OK, 0, last, ''}
end
local budget = tonumber(ARGV[2])
local expired = due(own.expiry, budget)
remove(expired)
if not free_due(own, budget) or #expired == budget then
    return {AGAIN}
end
local first = ''
for _, key in ipairs({own.claimed, own.delayed}) do
    local ends = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if ends and (first == '' or tonumber(ends) < tonumber(first)) then
        first = text(tonumber(ends))
    end
end
-- A claim makes a group busy, so each free one is worth one claim.
local count = call('ZCARD', own.free) + call('ZCARD', own.ready)
return {OK, count, last, first, call('EXISTS', own.lanes)}
