local function decide(key, now, cost, args)
  local rate, unit, full, most, patience = args[1], args[2], args[3], args[4], args[5]
  local state = load(key, 2)
  local owed = owed_of(state, now, rate, full, most)
  local total = owed + cost * unit
  if total <= full and owed <= patience then
    local after = owing(total, now, rate)
    return true, after, cost > 0 and after
  end
  local reading = owing(owed, now, rate)
  return cost == 0, reading, cost > 0 and state[1] - now > ceil_div(most, rate) and reading
end

local function refund(key, now, cost, args, reading)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local state = load(key, 2)
  if state[1] ~= reading[1] or state[2] ~= reading[2] then return false end
  local owed = owed_of(state, now, rate, full, most)
  return owed > 0 and owing(math.max(0, owed - cost * unit), now, rate)
end

algorithms.leaky_bucket = {
  arity = 5, reading_size = 2, save = save, reset_after = drained,
  decide = decide, charge = charge_grains, refund = refund,
}
