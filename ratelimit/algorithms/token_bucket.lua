local function decide(key, now, cost, args)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local state = load(key, 2)
  local owed = owed_of(state, now, rate, full, most)
  local total = owed + cost * unit
  if total <= full then
    local after = owing(total, now, rate)
    return true, after, cost > 0 and after
  end
  local reading = owing(owed, now, rate)
  return cost == 0, reading, cost > 0 and state[1] - now > ceil_div(most, rate) and reading
end

local function refund(key, now, cost, args)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local owed = owed_of(load(key, 2), now, rate, full, most)
  return owed > 0 and owing(math.max(0, owed - cost * unit), now, rate)
end

algorithms.token_bucket = {
  arity = 4, reading_size = 2, save = save, reset_after = drained,
  decide = decide, charge = charge_grains, refund = refund,
}
