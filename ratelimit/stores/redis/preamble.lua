-- The clock, and what is kept. Times are whole microseconds, numbers whole and below 2^53.
-- What isn't needed isn't made: at each call, a function costs as much as ten comparisons.
local call, format, match = redis.call, string.format, string.match
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local algorithms = {}
local is_alone = ARGV[2] == 'hit'

-- By a clock of the caller's, for tests, keys expire an hour late.
local clock = call('TIME')
local now, ahead = clock[1] * 1000000 + clock[2], 0
if ARGV[1] ~= '' then
  local server = now
  now = ARGV[1] + 0
  ahead = floor((server - now) / 1000) + 3600000
end

-- '%d' takes half the time of '%.0f', but on 32-bit servers it ends at 2^31.
local one, two, three = '%d', '%d %d', '%d %d %d'
local time = format(one, now)
if time + 0 ~= now then
  one, two, three = '%.0f', '%.0f %.0f', '%.0f %.0f %.0f'
  time = format(one, now)
end

local function text_of(a, b, c)
  if c then return format(three, a, b, c) end
  return format(two, a, b)
end

local function foreign(key)
  return 'FOREIGN the value at ' .. key .. ' is not a limit'
end

-- The state of a key: two numbers, both 0 if it was never used.
local function load(key)
  local text = call('GET', key)
  if not text then return 0, 0 end
  local a, b = match(text, '^(%d+) (%d+)$')
  if not a then error(foreign(key), 0) end
  return a + 0, b + 0
end

-- The time in ms at which a key expires: the first at which its state, fresh from `time` on, is
-- so. Many in a call have the same.
local last_expiry, last_text
local function expiry(time)
  local ms = ceil(time / 1000) + ahead
  if ms ~= last_expiry then last_expiry, last_text = ms, format(one, ms) end
  return last_text
end

local function set(key, text, fresh_at)
  call('SET', key, text, 'PXAT', expiry(fresh_at))
end
