-- The grains used and not given back yet.
local function owed_of(state, now, rate, full, most)
  local clear_at, late = state[1], state[2]
  if clear_at <= now then return 0 end
  if clear_at - now > ceil_div(most, rate) then return full end
  return (clear_at - now) * rate - (late < rate and late or 0)
end

-- The state that owes so many grains now.
local function owing(owed, now, rate)
  local wait = ceil_div(owed, rate)
  return {now + wait, wait * rate - owed}
end

local function charge_grains(key, now, cost, args)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local owed = owed_of(load(key, 2), now, rate, full, most)
  local room = math.floor((most - owed) / unit)
  local spent = math.max(0, math.min(cost, room))
  local after = owing(owed + spent * unit, now, rate)
  return spent, after, spent > 0 and after
end

local function drained(after, now)
  return after[1] - now
end
