-- The clock, and what is kept. Times are whole microseconds, numbers whole and below 2^53.
local algorithms = {}

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local grace = 0
if ARGV[1] ~= '' then
  now, grace = tonumber(ARGV[1]), 3600000
end

local function ceil_div(a, b)
  return -math.floor(-a / b)
end

local function foreign(key)
  return 'FOREIGN the value at ' .. key .. ' is not a limit'
end

-- The state of a key: so many numbers, all 0 if it was never used.
local patterns = {[2] = '^(%d+) (%d+)$', [3] = '^(%d+) (%d+) (%d+)$'}
local function load(key, size)
  local text = redis.call('GET', key)
  if not text then return {0, 0, 0} end
  local a, b, c = string.match(text, patterns[size])
  if not a then error(foreign(key), 0) end
  return {tonumber(a), tonumber(b), tonumber(c or 0)}
end

-- How long to keep a state, in ms: up to the first whole ms at which it is as good as fresh.
local function lifetime(at, reset_after)
  local ms = math.ceil((at + reset_after) / 1000) - math.floor(at / 1000)
  return string.format('%.0f', math.max(1, ms) + grace)
end

-- A state is often the reading too: then its text, half a microsecond's work, serves twice.
local formats = {[2] = '%.0f %.0f', [3] = '%.0f %.0f %.0f'}
local latest, latest_text
local function text_of_numbers(numbers, algorithm)
  if numbers ~= latest then
    latest, latest_text = numbers, string.format(formats[algorithm.reading_size], unpack(numbers))
  end
  return latest_text
end

local function save(key, after, at, args, algorithm)
  local text = text_of_numbers(after, algorithm)
  redis.call('SET', key, text, 'PX', lifetime(at, algorithm.reset_after(after, at, args)))
end
