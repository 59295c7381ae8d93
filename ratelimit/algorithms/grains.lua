-- The grains used and not given back yet.
local function owed_of(clear_at, late, now, rate, full, most)
  if clear_at <= now then return 0 end
  if clear_at - now > ceil(most / rate) then return full end
  return (clear_at - now) * rate - (late < rate and late or 0)
end

-- The state that owes so many grains now: two numbers.
local function owing(owed, now, rate)
  local wait = ceil(owed / rate)
  return now + wait, wait * rate - owed
end

local function save(key, _, _, clear_at, text)
  set(key, text, clear_at)
end

local function charge_grains(key, now, cost, args)
  local rate, unit, full, most = args[1], args[2], args[3], args[4]
  local clear_at, late = load(key)
  local owed = owed_of(clear_at, late, now, rate, full, most)
  local room = floor((most - owed) / unit)
  local spent = max(0, min(cost, room))
  return spent, spent > 0, owing(owed + spent * unit, now, rate)
end
