-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, bytes of a message to show. Returns how many messages
-- have been posted or '', numbers of free, claimed and delayed ones, when the
-- oldest free one was posted or '', how many free ones wait for others of
-- their groups, and the heads of the oldest and the newest message.

local budget = tonumber(ARGV[2])
posted = posted or ''
local expired = call('ZCOUNT', own.expiry, '-inf', ARGV[1])
if call('ZCARD', own.all) == expired then
    return {OK, posted, 0, 0, 0, '', 0}
end

-- What has expired may still be delayed, or the first one of its group.
if expired > 0 and call('EXISTS', own.delayed, own.lanes) > 0 then
    local dead = due(own.expiry, budget)
    remove(dead)
    if #dead == budget then
        return {AGAIN}
    end
    expired = 0
end
if not free_due(own, budget) then
    return {AGAIN}
end
local total = call('ZCARD', own.all) - expired
local claimed = call('ZCOUNT', own.claimed, '(' .. ARGV[1], '+inf')
local delayed = call('ZCOUNT', own.delayed, '(' .. ARGV[1], '+inf')

-- Call back with place, message and record of the live message next to one
-- end of a list. Reading removes nothing unless many dead ones are in the way.
-- Returns false if there are too many.
local function visit_end(command, key, visit)
    local dead, from = {}, 0
    while #dead < budget do
        local seq = call(command, key, from, from)[1]
        if not seq then
            return true
        end
        local blob = call('HGET', own.messages, seq)
        local record = call('HGET', own.touched, seq)
        if blob and not is_dead(blob, record) then
            visit(seq, blob, record)
            return true
        end
        dead[#dead + 1] = seq
        from = from + 1
    end
    remove(dead)
    return false
end

-- Return how many free messages wait for others of their groups: for as many
-- as are held at most.
local function held_by_groups()
    local count, seen = 0, {}
    for _, key in ipairs({own.claimed, own.delayed}) do
        local seqs = call('ZRANGE', key, 0, CHUNK - 1)
        for place, group in ipairs(groups_of(own, seqs) or {}) do
            if group then
                count = count - 1
                if not seen[group] then
                    seen[group] = true
                    count = count + call('ZLEXCOUNT', own.lanes,
                        '[' .. group .. '\0', '(' .. group .. '\1')
                end
            end
        end
    end
    return math.max(count, 0)
end

-- Return when the first message of the first free group was posted.
local function oldest_of_groups()
    local group = call('ZRANGE', own.ready, 0, 0)[1]
    local member = group and call('ZRANGEBYLEX', own.lanes,
        '[' .. group .. '\0', '(' .. group .. '\1', 'LIMIT', 0, 1)[1]
    local blob = member and call('HGET', own.messages, seq_in(member))
    return blob and tonumber(string.sub(blob, 32, 46))
end

local answer = {
    OK, posted, total - claimed, claimed, delayed, '', held_by_groups()
}
local function show_head(seq, blob, record)
    show(answer, seq, string.sub(blob, 1, tonumber(ARGV[3])), record)
end
if visit_end('ZRANGE', own.all, show_head)
    and visit_end('ZREVRANGE', own.all, show_head)
    and visit_end('ZRANGE', own.free, function(_, blob)
        answer[6] = text(tonumber(string.sub(blob, 32, 46)))
    end) then
    local start = oldest_of_groups()
    if start and (answer[6] == '' or start < tonumber(answer[6])) then
        answer[6] = text(start)
    end
    return answer
end
return {AGAIN}
