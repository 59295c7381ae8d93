-- The grains used and not given back yet.
local function owed_of(clear_at, late, now, rate, full, most)
  if clear_at <= now then return 0 end
  if clear_at - now > ceil(most / rate) then return full end
  return (clear_at - now) * rate - (late < rate and late or 0)
end

-- The state that owes so many grains now: two numbers, of which the first is when it is fresh.
local function owing(owed, now, rate)
  local wait = ceil(owed / rate)
  return now + wait, wait * rate - owed
end

local function charge_grains(now, cost, args, clear_at, late)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local owed = owed_of(clear_at, late, now, rate, full, most)
  local room = floor((most - owed) / unit)
  local spent = max(0, min(cost, room))
  clear_at, late = owing(owed + spent * unit, now, rate)
  return spent, spent > 0 and clear_at, clear_at, late
end
