local function decide(key, now, cost, args)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local clear_at, late = load(key)
  local owed = owed_of(clear_at, late, now, rate, full, most)
  local total = owed + cost * unit
  if total <= full then
    local after = owing(total, now, rate)
    return true, after, cost > 0 and after
  end
  local reading = owing(owed, now, rate)
  return cost == 0, reading, cost > 0 and clear_at - now > ceil(most / rate) and reading
end

local algorithm = {arity = 4, reading_size = 2, save = save, fresh_at = drained_at, decide = decide}
algorithms.token_bucket = algorithm
if is_alone then return end

algorithm.charge = charge_grains

function algorithm.refund(key, now, cost, args)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local clear_at, late = load(key)
  local owed = owed_of(clear_at, late, now, rate, full, most)
  return owed > 0 and owing(max(0, owed - cost * unit), now, rate)
end
