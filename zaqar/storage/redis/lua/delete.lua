-- SPDX-License-Identifier: Apache-2.0
--
-- ARGV: now, claim or '', id.

local claim, answer = ARGV[2], {OK}
find(2, 1, function(seq, _, record)
    local by = holder(record)
    if by == claim then
        remove({seq})
    elseif claim ~= '' and not live_claim(claim) then
        answer = {UNKNOWN}
    elseif by ~= '' then
        answer = {CLAIMED}
    else
        answer = {INVALID}
    end
end)
if has_freed_group then
    announce(0)
end
return answer
