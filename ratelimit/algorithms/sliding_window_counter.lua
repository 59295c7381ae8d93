-- The time to decide at, the two counts as they stand then, and whether they were brought back.
local function counts(now, period, most, last, previous, current)
  local moment = moment_of(last, now, period)
  local start = moment - moment % period
  if last > moment then return moment, 0, min(previous + current, most), true end
  if last >= start then return moment, previous, current, false end
  if last >= start - period then return moment, current, 0, false end
  return moment, 0, 0, false
end

-- Whether a * b <= c * d, for a and c below 2^29 and b and d below 2^49: in two digits of 2^24.
local function at_most(a, b, c, d)
  local base = 16777216
  local low, high = a * (b % base), c * (d % base)
  local left = a * floor(b / base) + floor(low / base)
  local right = c * floor(d / base) + floor(high / base)
  if left ~= right then return left < right end
  return low % base <= high % base
end

local function fresh_at(moment, period)
  return moment - moment % period + 2 * period
end

local function decide(now, cost, args, ...)
  local period, limit, most = args[1], args[2], args[3]
  local moment, previous, current, brought_back = counts(now, period, most, ...)
  local left = limit - current - cost
  if left >= 0 and at_most(previous, period - moment % period, left, period) then
    return true, cost > 0 and fresh_at(moment, period), moment, previous, current + cost
  end
  local changed = cost > 0 and brought_back
  return cost == 0, changed and fresh_at(moment, period), moment, previous, current
end

local algorithm = {arity = 3, reading_size = 3, pattern = three_numbers, decide = decide}
if is_plain then return algorithm end

function algorithm.charge(now, cost, args, ...)
  local period, most = args[1], args[3]
  local moment, previous, current = counts(now, period, most, ...)
  local spent = max(0, min(cost, most - current))
  return spent, spent > 0 and fresh_at(moment, period), moment, previous, current + spent
end

function algorithm.refund(now, cost, args, reading, ...)
  local period = args[1]
  local moment, previous, current = counts(now, period, args[3], ...)
  local start = moment - moment % period
  if reading[1] >= start then
    local given = min(cost, current)
    return given > 0 and fresh_at(moment, period), moment, previous, current - given
  end
  local given = reading[1] >= start - period and min(cost, previous) or 0
  return given > 0 and fresh_at(moment, period), moment, previous - given, current
end

return algorithm
