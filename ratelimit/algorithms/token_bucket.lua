local function decide(now, cost, args, clear_at, late)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local owed = owed_of(clear_at, late, now, rate, full, most)
  local total = owed + cost * unit
  if total <= full then
    clear_at, late = owing(total, now, rate)
    return true, cost > 0 and clear_at, clear_at, late
  end
  local brought_back = clear_at - now > ceil(most / rate)
  clear_at, late = owing(owed, now, rate)
  return cost == 0, cost > 0 and brought_back and clear_at, clear_at, late
end

local algorithm = {arity = 4, reading_size = 2, pattern = two_numbers, decide = decide}
if is_plain then return algorithm end

algorithm.charge = charge_grains

function algorithm.refund(now, cost, args, _, clear_at, late)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local owed = owed_of(clear_at, late, now, rate, full, most)
  if owed == 0 then return false end
  clear_at, late = owing(max(0, owed - cost * unit), now, rate)
  return clear_at, clear_at, late
end

return algorithm
