-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, budget, limit, place behind which to begin, id of a message that
-- may be a dead letter or '', client to leave out or '', '1' for claimed ones
-- too, '1' for delayed ones too, most entries to look at, most bytes.
-- Returns where to go on if it stopped before the end, and messages.
-- Removes nothing: a caller whose clock is behind may see more.

if not free_due(own, tonumber(ARGV[2])) then
    return {AGAIN}
end
local limit, client = tonumber(ARGV[3]), ARGV[6]
local claimed, delayed = ARGV[7] == '1', ARGV[8] == '1'
local most, bytes = tonumber(ARGV[9]), tonumber(ARGV[10])
local after = ARGV[4]
if ARGV[5] ~= '' then
    -- A dead letter's id says where it was in another queue.
    after = call('HGET', own.letters, 'i' .. ARGV[5]) or after
end
local asleep = call('EXISTS', own.waiting) == 1
local has_groups = call('EXISTS', own.lined) == 1

local function behind(key, count)
    return call('ZRANGEBYSCORE', key, '(' .. after, '+inf',
        'LIMIT', 0, count)
end

-- Return the next places of two lists.
local function merged(one, two, count)
    local seqs, i, j = {}, 1, 1
    while #seqs < count and (one[i] or two[j]) do
        if not two[j] or one[i] and tonumber(one[i]) < tonumber(two[j]) then
            seqs[#seqs + 1] = one[i]
            i = i + 1
        else
            seqs[#seqs + 1] = two[j]
            j = j + 1
        end
    end
    return seqs
end

local function following(count)
    if claimed then
        return behind(own.all, count)
    end
    local seqs = behind(own.free, count)
    if has_groups then
        seqs = merged(seqs, behind(own.lined, count), count)
    end
    if delayed and asleep then
        seqs = merged(seqs, behind(own.waiting, count), count)
    end
    return seqs
end

local function is_shown(seq, blob, record)
    if is_dead(blob, record) then
        return false
    elseif client ~= '' then
        local size = string.byte(blob, 48)
        if string.sub(blob, 49, 48 + size) == client then
            return false
        end
    end
    return not (claimed and not delayed and asleep
        and call('ZSCORE', own.waiting, seq))
end

local answer, shown, looked, weight = {OK, ''}, 0, 0, 0
while shown < limit do
    local size = math.min(limit - shown, most - looked, 100)
    local seqs = size > 0 and following(size) or {}
    local blobs = values(own.messages, seqs)
    local records = values(own.touched, seqs)
    for place, seq in ipairs(seqs) do
        weight = weight + #(blobs[place] or '')
        if blobs[place] and is_shown(seq, blobs[place], records[place]) then
            local record = records[place]
            if delayed and asleep then
                record = with_delay(seq, record)
            end
            show(answer, seq, blobs[place], record)
            shown = shown + 1
            weight = weight - #blobs[place]
        end
    end
    looked = looked + #seqs
    after = seqs[#seqs] or after
    if #seqs < size then
        break
    elseif shown < limit and (looked >= most or weight >= bytes) then
        answer[2] = after
        break
    end
end
return answer
