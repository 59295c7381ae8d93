local function decide(key, now, cost, args)
  local period, limit = args[1], args[2]
  local last, used = load(key)
  local moment = moment_of(last, now, period)
  if last < moment - moment % period then used = 0 end
  if used + cost <= limit then return true, cost > 0, moment, used + cost end
  return cost == 0, cost > 0 and moment < last, moment, used
end

local function save(key, args, _, moment, text)
  local period = args[1]
  set(key, text, moment - moment % period + period)
end

local algorithm = {arity = 3, reading_size = 2, save = save, decide = decide}
algorithms.fixed_window = algorithm
if is_alone then return end

function algorithm.charge(key, now, cost, args)
  local most = args[3]
  local _, _, moment, used = decide(key, now, 0, args)
  local spent = max(0, min(cost, most - used))
  return spent, spent > 0, moment, used + spent
end

function algorithm.refund(key, now, cost, args, reading)
  local period = args[1]
  local _, _, moment, used = decide(key, now, 0, args)
  local given = min(cost, used)
  if reading[1] < moment - moment % period or given == 0 then return false end
  return true, moment, used - given
end
