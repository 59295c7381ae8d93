-- The state of a key: three numbers, all 0 if it was never used.
local function load_three(key)
  local text = call('GET', key)
  if not text then return 0, 0, 0 end
  local a, b, c = match(text, '^(%d+) (%d+) (%d+)$')
  if not a then error(foreign(key), 0) end
  return a + 0, b + 0, c + 0
end

-- The time to decide at, and the two counts as they stand then.
local function counts(key, now, period, most)
  local last, previous, current = load_three(key)
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

local function decide(key, now, cost, args)
  local period, limit, most = args[1], args[2], args[3]
  local moment, previous, current, brought_back = counts(key, now, period, most)
  local left = limit - current - cost
  if left >= 0 and at_most(previous, period - moment % period, left, period) then
    return true, cost > 0, moment, previous, current + cost
  end
  return cost == 0, cost > 0 and brought_back, moment, previous, current
end

local function save(key, args, _, moment, text)
  local period = args[1]
  set(key, text, moment - moment % period + 2 * period)
end

local algorithm = {arity = 3, reading_size = 3, save = save, decide = decide}
algorithms.sliding_window_counter = algorithm
if is_alone then return end

function algorithm.charge(key, now, cost, args)
  local period, most = args[1], args[3]
  local moment, previous, current = counts(key, now, period, most)
  local spent = max(0, min(cost, most - current))
  return spent, spent > 0, moment, previous, current + spent
end

function algorithm.refund(key, now, cost, args, reading)
  local period = args[1]
  local moment, previous, current = counts(key, now, period, args[3])
  local start = moment - moment % period
  if reading[1] >= start then
    local given = min(cost, current)
    return given > 0, moment, previous, current - given
  end
  local given = reading[1] >= start - period and min(cost, previous) or 0
  return given > 0, moment, previous - given, current
end
