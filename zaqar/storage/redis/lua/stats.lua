-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, bytes of a message to show. Returns numbers of free and
-- claimed ones, and the heads of the oldest and the newest message.

local budget = tonumber(ARGV[2])
local expired = call('ZCOUNT', own.expiry, '-inf', ARGV[1])
local total = call('ZCARD', own.all) - expired
if total == 0 then
    return {OK, 0, 0}
end
local claimed = call('ZCOUNT', own.claimed, '(' .. ARGV[1], '+inf')
local answer = {OK, total - claimed, claimed}

-- Show the live message next to one end. Reading removes nothing unless many
-- dead ones are in the way.
local function show_end(command)
    local dead, from = {}, 0
    while #dead < budget do
        local seqs = call(command, own.all, from, from)
        local blob = call('HGET', own.messages, seqs[1])
        local record = call('HGET', own.touched, seqs[1])
        if not is_dead(blob, record) then
            show(answer, seqs[1], string.sub(blob, 1, tonumber(ARGV[3])),
                record)
            return true
        end
        dead[#dead + 1] = seqs[1]
        from = from + 1
    end
    remove(own, dead)
    return false
end

if show_end('ZRANGE') and show_end('ZREVRANGE') then
    return answer
end
return {AGAIN}
