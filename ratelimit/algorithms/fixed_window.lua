local function decide(key, now, cost, args)
  local period, limit = args[1], args[2]
  local last, used = load(key)
  local moment = moment_of(last, now, period)
  if last < moment - moment % period then used = 0 end
  if used + cost <= limit then
    local reading = {moment, used + cost}
    return true, reading, cost > 0 and reading
  end
  local reading = {moment, used}
  return cost == 0, reading, cost > 0 and moment < last and reading
end

local function fresh_at(after, args)
  local moment, period = after[1], args[1]
  return moment - moment % period + period
end

local algorithm = {
  arity = 3, reading_size = 2, save = save, fresh_at = fresh_at, decide = decide,
}
algorithms.fixed_window = algorithm
if is_alone then return end

function algorithm.charge(key, now, cost, args)
  local most = args[3]
  local _, state = decide(key, now, 0, args)
  local moment, used = state[1], state[2]
  local spent = max(0, min(cost, most - used))
  local reading = {moment, used + spent}
  return spent, reading, spent > 0 and reading
end

function algorithm.refund(key, now, cost, args, reading)
  local period = args[1]
  local _, state = decide(key, now, 0, args)
  local moment, used = state[1], state[2]
  local given = min(cost, used)
  if reading[1] < moment - moment % period or given == 0 then return false end
  return {moment, used - given}
end
