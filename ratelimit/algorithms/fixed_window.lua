local function decide(now, cost, args, last, used)
  local period, limit = args[1], args[2]
  local moment = moment_of(last, now, period)
  local start = moment - moment % period
  if last < start then used = 0 end
  local total, fresh_at = used + cost, start + period
  if total <= limit then return true, cost > 0 and fresh_at, moment, total end
  return cost == 0, cost > 0 and moment < last and fresh_at, moment, used
end

local algorithm = {arity = 3, reading_size = 2, pattern = two_numbers, decide = decide}
if is_plain then return algorithm end

function algorithm.charge(now, cost, args, last, used)
  local period, most = args[1], args[3]
  local _, _, moment, counted = decide(now, 0, args, last, used)
  local spent = max(0, min(cost, most - counted))
  return spent, spent > 0 and moment - moment % period + period, moment, counted + spent
end

function algorithm.refund(now, cost, args, reading, last, used)
  local period = args[1]
  local _, _, moment, counted = decide(now, 0, args, last, used)
  local given, start = min(cost, counted), moment - moment % period
  if reading[1] < start or given == 0 then return false end
  return start + period, moment, counted - given
end

return algorithm
