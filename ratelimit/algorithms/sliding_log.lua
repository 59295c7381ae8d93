-- A log is a list of hits, oldest first, each 'time before total': the total cost before the hit
-- and with it, modulo 2^52. So what hits have cost together is found by bisection. It is too long
-- to be loaded whole: of its state, what is needed is read when it is.
local turn = 4503599627370496

-- How many entries are written at once: more than some thousands don't fit on Lua's stack.
local at_once = 1000

-- The time of a hit and its totals; nothing if there is none.
local function entry(key, index)
  local text = call('LINDEX', key, index)
  if text then return numbers_in(text, three_numbers, key) end
end

-- The first index from `head` on that `reached` holds for, or `tail`: near the head it is cheap.
local function first_index(head, tail, reached)
  if head == tail or reached(head) then return head end
  local low, step = head, 1
  while low + step < tail and not reached(low + step) do
    low, step = low + step, step * 2
  end
  local high = min(low + step, tail)
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if reached(middle) then high = middle else low = middle end
  end
  return high
end

-- The latest hit and its totals, the oldest and the total before it; nothing if there is none.
local function ends_of(key)
  local last, last_before, total = entry(key, -1)
  if not last then return end
  local first, before = entry(key, 0)
  return last, last_before, total, first, before
end

-- The time to decide at, and the hits that count then: from `head` on.
local function live(key, now, period, last, last_before, total, first, before)
  if not last then return {head = 0, moment = now, used = 0} end
  local moment = moment_of(last, now, period)
  local since = moment - period
  if last <= since then return {head = call('LLEN', key), moment = moment, used = 0} end
  local head = 0
  if first <= since then
    head = first_index(1, call('LLEN', key), function(i) return entry(key, i) > since end)
    first, before = entry(key, head)
  end
  local used = (total - before) % turn
  if moment < last then
    return {
      head = call('LLEN', key), moment = moment, used = used, first = moment, last = moment,
      brought_back = true,
    }
  end
  return {
    head = head, moment = moment, used = used, first = first, last = last, before = before,
    last_before = last_before, total = total,
  }
end

-- The reading, with the hit that has to be forgotten before `cost` is allowed.
local function reading_of(key, log, cost, limit)
  if log.used == 0 then return 0, 0, 0 end
  local need = log.used + (cost <= limit and cost or 1) - limit
  if need <= 0 or log.brought_back then return log.used, log.first, log.last end
  local index = first_index(log.head, call('LLEN', key), function(i)
    local _, _, total = entry(key, i)
    return (total - log.before) % turn >= need
  end)
  return log.used, entry(key, index) or log.moment, log.last
end

-- What `save_log` needs to add one hit.
local function with_hit(log, cost)
  local moment = log.moment
  if log.used == 0 or log.brought_back then
    return {moment = moment, from = log.head, text = text_of(moment, 0, log.used + cost)}
  end
  local total = (log.total + cost) % turn
  if log.last == moment then
    local text = text_of(moment, log.last_before, total)
    return {moment = moment, from = log.head, text = text, same = true}
  end
  return {moment = moment, from = log.head, text = text_of(moment, log.total, total)}
end

local function save_log(key, args, after)
  if after.from > 0 then call('LTRIM', key, after.from, -1) end
  if after.same then
    call('LSET', key, -1, after.text)
  else
    call('RPUSH', key, after.text)
  end
  call('PEXPIREAT', key, expiry(after.moment + args[1]))
end

local function verdict(key, cost, limit, log)
  if cost == 0 then return true, false, reading_of(key, log, 1, limit) end
  if log.used + cost <= limit then
    return true, with_hit(log, cost), log.used + cost, log.first or log.moment, log.moment
  end
  return false, log.brought_back and with_hit(log, 0), reading_of(key, log, cost, limit)
end

-- A hit as most are is quick: the log ends before now, has room, and nothing to forget.
local function hit(key, cost, args)
  local period, limit = args[1], args[2]
  local last, last_before, total, first, before = ends_of(key)
  if last and last < now and first > now - period and cost > 0 then
    local used = (total - before) % turn + cost
    if used <= limit then
      call('RPUSH', key, text_of(now, total, (total + cost) % turn))
      call('PEXPIREAT', key, expiry(now + period))
      return '1 ' .. text_of(used, first, now)
    end
  end
  local log = live(key, now, period, last, last_before, total, first, before)
  local allowed, after, a, b, c = verdict(key, cost, limit, log)
  if after then save_log(key, args, after) end
  return (allowed and '1 ' or '0 ') .. text_of(a, b, c)
end

local algorithm = {arity = 3, reading_size = 3, hit = hit}
if is_plain then return algorithm end

algorithm.save = save_log

function algorithm.decide(now, cost, args, key)
  local period, limit = args[1], args[2]
  return verdict(key, cost, limit, live(key, now, period, ends_of(key)))
end

function algorithm.charge(now, cost, args, key)
  local period, limit, most = args[1], args[2], args[3]
  local log = live(key, now, period, ends_of(key))
  local spent = max(0, min(cost, most - log.used))
  if spent == 0 then return 0, false, reading_of(key, log, 1, limit) end
  local after = with_hit(log, spent)
  log.first, log.last, log.used = log.first or log.moment, log.moment, log.used + spent
  return spent, after, reading_of(key, log, 1, limit)
end

function algorithm.refund(now, cost, args, reading, key)
  local log = live(key, now, args[1], ends_of(key))
  if log.used == 0 or log.brought_back then return false end
  local moment, tail = reading[3], call('LLEN', key)
  local index = first_index(log.head, tail, function(i) return entry(key, i) >= moment end)
  if index == tail then return false end
  local time, before, total = entry(key, index)
  local spent = (total - before) % turn
  local taken = min(cost, spent)
  if time ~= moment or taken == 0 then return false end
  if log.head > 0 then call('LTRIM', key, log.head, -1) end
  index = index - log.head
  call('LSET', key, index, text_of(time, before, (total - taken) % turn))
  local later = call('LRANGE', key, index + 1, -1)
  call('LTRIM', key, 0, index)
  for first = 1, #later, at_once do
    local texts = {}
    for i = first, min(first + at_once - 1, #later) do
      time, before, total = numbers_in(later[i], three_numbers, key)
      texts[#texts + 1] = text_of(time, (before - taken) % turn, (total - taken) % turn)
    end
    call('RPUSH', key, unpack(texts))
  end
  if taken == spent then
    call('LSET', key, index, '')
    call('LREM', key, 1, '')
  end
  return true
end

return algorithm
