local function decide(key, now, cost, args)
  local rate, unit, full, most, patience = args[1], args[2], args[3], args[4], args[5]
  local clear_at, late = load(key)
  local owed = owed_of(clear_at, late, now, rate, full, most)
  local total = owed + cost * unit
  if total <= full and owed <= patience then
    return true, cost > 0, owing(total, now, rate)
  end
  return cost == 0, cost > 0 and clear_at - now > ceil(most / rate), owing(owed, now, rate)
end

local algorithm = {arity = 5, reading_size = 2, save = save, decide = decide}
algorithms.leaky_bucket = algorithm
if is_alone then return end

algorithm.charge = charge_grains

function algorithm.refund(key, now, cost, args, reading)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local clear_at, late = load(key)
  if clear_at ~= reading[1] or late ~= reading[2] then return false end
  local owed = owed_of(clear_at, late, now, rate, full, most)
  if owed == 0 then return false end
  return true, owing(max(0, owed - cost * unit), now, rate)
end
