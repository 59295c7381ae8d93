-- The clock, and what is kept. Times are whole microseconds, numbers whole and below 2^53.
-- What isn't needed isn't made: at each call, a function costs as much as ten comparisons.
local call, format, match = redis.call, string.format, string.match
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local is_plain = ARGV[2] == 'hit'

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

-- Numbers as a text. In most the first is the time, which isn't spelled out for each of many.
local now_and_one, now_and_two
if KEYS[2] then now_and_one, now_and_two = time .. ' ' .. one, time .. ' ' .. two end

local function text_of(a, b, c)
  if now_and_one and a == now then
    return c and format(now_and_two, b, c) or format(now_and_one, b)
  end
  return c and format(three, a, b, c) or format(two, a, b)
end

-- The numbers that a text tells: two or three, as the pattern says. Without a text all are 0.
local two_numbers, three_numbers = '^(%d+) (%d+)$', '^(%d+) (%d+) (%d+)$'
local function numbers_in(text, pattern, key)
  if not text then return 0, 0, 0 end
  local a, b, c = match(text, pattern)
  if not a then error('FOREIGN the value at ' .. key .. ' is not a limit', 0) end
  return a + 0, b + 0, c and c + 0
end

-- The time in ms at which a key expires: the first at which its state, fresh from `time` on, is
-- so. Many in a call have the same.
local last_time, last_expiry
local function expiry(time)
  if time ~= last_time then
    last_time, last_expiry = time, format(one, ceil(time / 1000) + ahead)
  end
  return last_expiry
end
