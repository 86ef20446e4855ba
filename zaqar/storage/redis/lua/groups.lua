-- SPDX-License-Identifier: Apache-2.0
--
-- The messages that a claim or a pop may take.

-- Return a function for the next messages of free groups. It is called with
-- the place of another message, and returns the place of one before that, or
-- nothing.
local function of_groups(size, has_delayed)
    local ready, at, from, cursors = {}, 1, 0, {}

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

-- The groups of some messages, by place: those that have been read.
local known_groups = {}

-- Return the first messages of free groups, so many at most, and whether there
-- are no others, from a page of all that are not held. They are looked for
-- group by group where that page is full of messages of busy groups, or a
-- delayed one may be in between: then there is nothing.
local function first_of_groups(ready, size, has_delayed)
    if has_delayed then
        return {}, false
    end
    local page = call('ZRANGEBYSCORE', own.lined, ready[2], '+inf',
        'LIMIT', 0, size * 2)
    local places, begin = {}, 1
    -- Where groups are short, each of these is the first one of the next.
    while begin <= size and page[begin] and page[begin] == ready[begin * 2] do
        places[begin] = page[begin]
        known_groups[page[begin]] = ready[begin * 2 - 1]
        begin = begin + 1
    end
    if begin > size then
        return places, false
    end
    local fields, is_ready = {}, {}
    for place = 1, #ready, 2 do
        is_ready[ready[place]] = true
    end
    for place = begin, #page do
        fields[place - begin + 1] = 'g' .. page[place]
    end
    for place, group in ipairs(values(own.beside, fields)) do
        if is_ready[group] then
            local seq = page[begin + place - 1]
            places[#places + 1], known_groups[seq] = seq, group
            if #places == size then
                return places, false
            end
        end
    end
    local is_all = #page < size * 2 and #ready < size * 2
    return is_all and places or {}, is_all
end

-- Return a function for the next free messages, so many at a time, in order.
local function free_places(size, has_no_groups, has_delayed)
    local after = '-inf'
    local function ungrouped(count)
        local page = call('ZRANGEBYSCORE', own.free, after, '+inf',
            'LIMIT', 0, count)
        if #page > 0 then
            after = '(' .. page[#page]
        end
        return page
    end
    local ready = has_no_groups and {}
        or call('ZRANGE', own.ready, 0, size - 1, 'WITHSCORES')
    if #ready == 0 then
        return ungrouped
    end
    local first, is_all = first_of_groups(ready, size, has_delayed)
    local first_at, others = 1, nil
    local function grouped(before)
        local seq = first[first_at]
        if seq then
            if tonumber(seq) >= before then
                return nil
            end
            first_at = first_at + 1
        elseif not is_all then
            others = others or of_groups(size, has_delayed)
            repeat
                seq = others(before)
            until not seq or #first == 0
                or tonumber(seq) > tonumber(first[#first])
        end
        return seq
    end
    local page, at, is_last = {}, 1, false
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

-- Note that a claim holds messages now, in order, whose groups have been read.
local function occupy(seqs)
    if not has_beside then
        each('ZREM', own.free, seqs)
        return
    end
    local last, busy, lined, plain = {}, {}, {}, {}
    for _, seq in ipairs(seqs) do
        local group = read_groups[seq]
        if group then
            if not last[group] then
                busy[#busy + 1] = group
            end
            last[group] = seq
            lined[#lined + 1] = seq
        else
            plain[#plain + 1] = seq
        end
    end
    each('ZREM', own.free, plain)
    if #busy == 0 then
        return
    end
    -- None of a group that was free is held behind them.
    local reached = {}
    for place, group in ipairs(busy) do
        reached[place * 2 - 1] = group
        reached[place * 2] = last[group]
    end
    local added = each('HSET', own.reached, reached)
    each('ZREM', own.ready, busy)
    each('ZREM', own.lined, lined)
    if added > 0 and call('HLEN', own.reached) == #busy then
        match_ttl(own, own.reached)
    end
end
