-- SPDX-License-Identifier: Apache-2.0
--
-- The messages that a claim or a pop may take.

-- Return a function for the next messages of free groups. It is called with
-- the place of another message, and returns the place of one before that, or
-- nothing.
local function of_groups(size)
    local ready, at, from, cursors = {}, 1, 0, {}
    local has_delayed = call('EXISTS', own.delayed) == 1

    local function load(cursor)
        local group = cursor.group
        local members = call('ZRANGEBYLEX', own.lanes, cursor.after,
            '(' .. group .. '\1', 'LIMIT', 0, size)
        cursor.seqs, cursor.at = {}, 1
        cursor.is_last = #members < size
        for place, member in ipairs(members) do
            local seq = seq_in(member)
            -- What lies behind one that is delayed waits for it.
            if has_delayed
                and tonumber(call('ZSCORE', own.delayed, seq) or 0) > now then
                cursor.is_last = true
                break
            end
            cursor.seqs[place] = seq
        end
        cursor.after = '(' .. (members[#members] or group)
    end

    local function head(cursor)
        if not cursor.seqs[cursor.at] and not cursor.is_last then
            load(cursor)
        end
        return cursor.seqs[cursor.at]
    end

    -- Begin with the next group, if its first message may be before a place.
    local function open(before)
        if not ready[at] then
            ready, at = call('ZRANGE', own.ready, from, from + size - 1,
                'WITHSCORES'), 1
            from = from + size
        end
        if not ready[at] or tonumber(ready[at + 1]) > before then
            return false
        end
        local group = ready[at]
        at = at + 2
        local cursor = {group = group, after = '[' .. group .. '\0'}
        load(cursor)
        cursors[#cursors + 1] = cursor
        return true
    end

    return function(before)
        local first, best = nil, before
        repeat
            for _, cursor in ipairs(cursors) do
                local seq = head(cursor)
                if seq and tonumber(seq) < best then
                    first, best = cursor, tonumber(seq)
                end
            end
        until not open(best)
        if first then
            first.at = first.at + 1
            return first.seqs[first.at - 1]
        end
    end
end

-- Return a function for the next free messages, so many at a time, in order.
local function free_places(size)
    local after = '-inf'
    local function ungrouped(count)
        local page = call('ZRANGEBYSCORE', own.free, after, '+inf',
            'LIMIT', 0, count)
        if #page > 0 then
            after = '(' .. page[#page]
        end
        return page
    end
    if call('EXISTS', own.ready) == 0 then
        return ungrouped
    end
    local grouped, page, at, is_last = of_groups(size), {}, 1, false
    return function(count)
        local places = {}
        while #places < count do
            if not page[at] and not is_last then
                page, at = ungrouped(size), 1
                is_last = #page < size
            end
            local seq = grouped(tonumber(page[at] or math.huge))
            if not seq and page[at] then
                seq = page[at]
                at = at + 1
            end
            if not seq then
                break
            end
            places[#places + 1] = seq
        end
        return places
    end
end

-- Note that a claim holds messages now, whose groups have been read.
local function occupy(seqs)
    local last, busy = {}, {}
    for place, seq in ipairs(seqs) do
        local group = read_before[seq][1]
        if group then
            if not last[group] then
                busy[#busy + 1] = group
            end
            last[group] = math.max(last[group] or 0, tonumber(seqs[place]))
        end
    end
    if #busy == 0 then
        return
    end
    local reached, is_new = {}, true
    for place, before in ipairs(values(own.reached, busy)) do
        local group = busy[place]
        is_new = is_new and not before
        reached[#reached + 1] = group
        reached[#reached + 1] =
            text(math.max(last[group], tonumber(before or 0)))
    end
    each('HSET', own.reached, reached)
    each('ZREM', own.ready, busy)
    each('ZREM', own.lined, seqs)
    if is_new then
        match_ttl(own, own.reached)
    end
end
