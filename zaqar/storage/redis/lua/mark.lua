-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, 'get', 'set' or 'clear', epoch to clear, '1' when it is done
-- again. Returns the epoch, 0 for none; after 'clear' whether it was.

mark = mark or '1'
local last = call('HGET', own.state, 'last_mark') or '1'
if ARGV[2] == 'set' then
    mark = text(tonumber(last) + 1)
    call('HSET', own.state, 'mark', mark, 'last_mark', mark)
elseif ARGV[2] == 'clear' then
    if ARGV[3] ~= mark or mark == '0' then
        -- Done again, it must not overlook its own first try.
        local is_ours = mark == '0' and ARGV[3] == last and ARGV[4] == '1'
        return {OK, is_ours and 1 or 0}
    end
    call('HSET', own.state, 'mark', '0', 'last_mark', last)
    return {OK, 1}
end
return {OK, tonumber(mark)}
