-- The answer is one text: the time, and a line for each transaction, with the numbers of each
-- limit: whether it is allowed (or the units charged or refunded), and the reading. The line of
-- a transaction that failed starts with '!', and the others are as if it hadn't been asked for.
local lines = {time}

-- Add the line that a function returns, or what went wrong: it harms no other transaction.
local function add(line_of, ...)
  local is_fine, line = pcall(line_of, ...)
  if not is_fine then
    line = type(line) == 'table' and line.err or tostring(line)
    line = '!' .. string.gsub(line, '[\r\n]', ' ')
  end
  lines[#lines + 1] = line
end

local function numbers_from(position, count)
  local numbers = {}
  for i = 1, count do numbers[i] = ARGV[position + i - 1] + 0 end
  return numbers
end

-- An algorithm's `decide` and `charge` return whether it is allowed, or how much is charged; from
-- when on the state is fresh, or false if there is nothing to keep; and the reading, which is what
-- is kept. An algorithm that keeps more has no pattern, but `hit` and `save` of its own: then the
-- second is what `save` needs.

-- Decide hits on one limit each, from the first on up to `count`. Their keys lie behind `key_index`
-- and their costs behind `cost_index`: `saying` of them, the last for all behind.
-- The line of the last hit is returned. If one fails, those behind it are still to be decided.
local function decide_hits(first, count, algorithm, args, key_index, cost_index, saying)
  local decide, pattern, hit = algorithm.decide, algorithm.pattern, algorithm.hit
  local cost = ARGV[cost_index + min(first, saying)] + 0
  local keys, lines, found, kept = KEYS, lines
  -- One MGET takes less time than a GET for each. Where it finds no text there may be something
  -- else, which a GET tells.
  if pattern and first == 1 and count > 1 then
    found, kept = call('MGET', unpack(keys, key_index + 1, key_index + count)), {}
  end
  for i = first, count do
    local key, line = keys[key_index + i]
    if i <= saying then cost = ARGV[cost_index + i] + 0 end
    if pattern then
      local text = found and (kept[key] or found[i]) or call('GET', key)
      local allowed, fresh_at, a, b, c = decide(now, cost, args, numbers_in(text, pattern, key))
      text = text_of(a, b, c)
      if fresh_at then
        call('SET', key, text, 'PXAT', expiry(fresh_at))
        if kept then kept[key] = text end
      end
      line = (allowed and '1 ' or '0 ') .. text
    else
      line = hit(key, cost, args)
    end
    if i == count then return line end
    lines[#lines + 1] = line
  end
end

-- Most calls are hits on one limit each, all limits with the same numbers. ARGV: the time or '',
-- 'hit', the algorithm, its numbers, and the costs.
if is_plain then
  local algorithm = make(ARGV[3])
  local args, cost_index = numbers_from(4, algorithm.arity), 3 + algorithm.arity
  repeat
    add(decide_hits, #lines, #KEYS, algorithm, args, 0, cost_index, #ARGV - cost_index)
  until #lines > #KEYS
  return table.concat(lines, '\n')
end

-- Else ARGV: the time or '', how many forms, the forms, and then runs of transactions of one form.
-- A form: operation, how many limits, and for each its algorithm and the algorithm's numbers.
-- A run: which form, how many transactions, and what they ask of each limit: the cost, and for a
-- refund the reading. So many of them say it; those behind ask the same as the last who does.
-- KEYS has the keys of all limits in the order of the transactions.
local operations = {}

-- What an algorithm is given of a limit's state: the numbers, or else the key.
local function state_of(limit)
  local pattern = limit.algorithm.pattern
  if pattern then return numbers_in(call('GET', limit.key), pattern, limit.key) end
  return limit.key
end

local function keep(limit, text, after)
  local own = limit.algorithm.save
  if own then return own(limit.key, limit.args, after) end
  call('SET', limit.key, text, 'PXAT', expiry(after))
end

-- Take down an answer, what to keep, and the reading.
local function note(limit, answer, after, a, b, c)
  limit.answer, limit.after, limit.text = answer, after, text_of(a, b, c)
end

local function decide(limit, cost)
  note(limit, limit.algorithm.decide(now, cost, limit.args, state_of(limit)))
end

-- A denial charges none of the limits: those that allowed report what they have without it.
local function decide_all(limits, peek)
  local allowed = true
  for _, limit in ipairs(limits) do
    decide(limit, limit.cost)
    allowed = allowed and limit.answer
  end
  for _, limit in ipairs(limits) do
    if limit.answer and (peek or not allowed) then
      decide(limit, 0)
    elseif limit.after and not peek then
      keep(limit, limit.text, limit.after)
    end
    limit.answer = limit.answer and 1 or 0
  end
end

function operations.hit(limits)
  decide_all(limits, false)
end

function operations.peek(limits)
  decide_all(limits, true)
end

function operations.charge(limits)
  for _, limit in ipairs(limits) do
    note(limit, limit.algorithm.charge(now, limit.cost, limit.args, state_of(limit)))
  end
  for _, limit in ipairs(limits) do
    if limit.after then keep(limit, limit.text, limit.after) end
  end
end

function operations.refund(limits)
  for _, limit in ipairs(limits) do
    local after, a, b, c =
      limit.algorithm.refund(now, limit.cost, limit.args, limit.given, state_of(limit))
    if after and a then keep(limit, text_of(a, b, c), after) end
    limit.answer = after and 1 or 0
  end
end

function operations.reset(limits)
  for _, limit in ipairs(limits) do
    limit.answer = call('DEL', limit.key)
  end
end

-- Every command that limits need, on keys that are gone afterwards.
function operations.check(limits)
  local key, soon = limits[1].key, expiry(now + 1000000)
  for _, command in ipairs({
    {'DEL', key}, {'SET', key, '', 'PXAT', soon}, {'PEXPIREAT', key, soon}, {'GET', key},
    {'MGET', key}, {'DEL', key}, {'RPUSH', key, 'a', 'b'}, {'PEXPIREAT', key, soon},
    {'LLEN', key}, {'LINDEX', key, '0'}, {'LRANGE', key, '0', '-1'}, {'LSET', key, '0', 'c'},
    {'LREM', key, '1', 'c'}, {'LTRIM', key, '0', '0'}, {'DEL', key},
  }) do
    call(unpack(command))
  end
  limits[1].answer = 1
end

local function limits_of(form, first, asked)
  local limits = {}
  for i, part in ipairs(form) do
    limits[i] = {
      key = KEYS[first + i], algorithm = part.algorithm, args = part.args,
      cost = asked[i].cost, given = asked[i].reading,
    }
  end
  return limits
end

local function answer(form, limits)
  local parts = {}
  operations[form.operation](limits)
  for i, limit in ipairs(limits) do
    parts[i] = format(one, limit.answer)
    if limit.text then parts[i] = parts[i] .. ' ' .. limit.text end
  end
  return table.concat(parts, ' ')
end

local position, key_index, algorithms = 2, 0, {}

local function take()
  position = position + 1
  return ARGV[position - 1]
end

local function take_numbers(count)
  position = position + count
  return numbers_from(position - count, count)
end

local function take_form()
  local form = {operation = take()}
  for i = 1, take() + 0 do
    local kind = take()
    algorithms[kind] = algorithms[kind] or make(kind)
    local algorithm = algorithms[kind]
    form[i] = {algorithm = algorithm, args = take_numbers(algorithm.arity)}
  end
  return form
end

local function take_asked(form)
  local asked = {}
  for i, part in ipairs(form) do
    asked[i] = {cost = take() + 0}
    if form.operation == 'refund' then
      asked[i].reading = take_numbers(part.algorithm.reading_size)
    end
  end
  return asked
end

local forms = {}
for i = 1, take() + 0 do forms[i] = take_form() end

while position <= #ARGV do
  local form, count, saying = forms[take() + 0], take() + 0, take() + 0
  if form.operation == 'hit' and not form[2] then
    local before, algorithm, args = #lines, form[1].algorithm, form[1].args
    repeat
      local first = #lines - before + 1
      add(decide_hits, first, count, algorithm, args, key_index, position - 1, saying)
    until #lines == before + count
    position = position + saying
  else
    local asked
    for i = 1, count do
      if i <= saying then asked = take_asked(form) end
      add(answer, form, limits_of(form, key_index + (i - 1) * #form, asked))
    end
  end
  key_index = key_index + count * #form
end
return table.concat(lines, '\n')
