-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, messages that stand for all when the count begins.
-- Returns the bytes that a queue holds.

-- Programs of earlier releases do not subtract what they remove.
local is_wrong = bytes and bytes ~= '0' and call('ZCARD', own.all) == 0
if is_wrong or not bytes then
    local held, size = call('ZCARD', own.all), 0
    local some = call('ZRANGE', own.all, 0, tonumber(ARGV[3]) - 1)
    for _, seq in ipairs(some) do
        size = size + call('HSTRLEN', own.messages, seq)
    end
    bytes = text(math.floor(held * size / math.max(#some, 1)))
    if call('EXISTS', own.state) == 1 then
        call('HSET', own.state, 'bytes', bytes)
    end
end
return {OK, bytes}
