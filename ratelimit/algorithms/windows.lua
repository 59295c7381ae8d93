-- The time to decide at, when the state was last written at `last`.
local function moment_of(last, now, period)
  if now < last and last <= now + period then return last end
  return now
end
