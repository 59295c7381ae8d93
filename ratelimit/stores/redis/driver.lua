-- The answer is one text: the time, and a line for each transaction, with the numbers of each
-- limit: whether it is allowed (or the units charged or refunded), and the reading. The line of
-- a transaction that failed starts with '!', and the others are as if it hadn't been asked for.
local lines = {time}

local function tell(done, line)
  if not done then
    line = type(line) == 'table' and line.err or tostring(line)
    line = '!' .. string.gsub(line, '[\r\n]', ' ')
  end
  lines[#lines + 1] = line
end

-- What an algorithm decides, or charges, is: whether it is allowed, or how much is charged; what it
-- needs to save that, or false; and the numbers of the reading, which most of them save as they are.
local function hit(key, algorithm, args, cost)
  local allowed, after, a, b, c = algorithm.decide(key, now, cost, args)
  local text = text_of(a, b, c)
  if after then algorithm.save(key, args, after, a, text) end
  return (allowed and '1 ' or '0 ') .. text
end

local function numbers_from(position, count)
  local numbers = {}
  for i = 1, count do numbers[i] = ARGV[position + i - 1] + 0 end
  return numbers
end

-- One limit's hit alone, as most are while there is little to do. ARGV: the time or '', 'hit', the
-- algorithm, its numbers, and the cost.
if is_alone then
  make(ARGV[3])
  local algorithm = algorithms[ARGV[3]]
  local args = numbers_from(4, algorithm.arity)
  tell(pcall(hit, KEYS[1], algorithm, args, ARGV[4 + algorithm.arity] + 0))
  return table.concat(lines, '\n')
end

-- Else ARGV: the time or '', how many forms, the forms, and then runs of transactions of one form.
-- A form: operation, how many limits, and for each its algorithm and the algorithm's numbers.
-- A run: which form, how many transactions, and what they ask of each limit: the cost, and for a
-- refund the reading. So many of them say it; those behind ask the same as the last who does.
-- KEYS has the keys of all limits in the order of the transactions.
local position, key_index = 2, 0

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
    if not algorithms[kind] then make(kind) end
    form[i] = {algorithm = algorithms[kind], args = take_numbers(algorithms[kind].arity)}
  end
  return form
end

-- The function that does all the others.
local function others()
  local operations = {}

  local function keep(limit)
    if limit.after then
      limit.algorithm.save(limit.key, limit.args, limit.after, limit.first, limit.text)
    end
  end

  -- Take down an answer, what to keep, and the reading.
  local function note(limit, answer, after, a, b, c)
    limit.answer, limit.after, limit.first, limit.text = answer, after, a, text_of(a, b, c)
  end

  -- A denial charges none of the limits: those that allowed report what they have without it.
  local function decide_all(limits, peek)
    local allowed = true
    for _, limit in ipairs(limits) do
      note(limit, limit.algorithm.decide(limit.key, now, limit.cost, limit.args))
      allowed = allowed and limit.answer
    end
    for _, limit in ipairs(limits) do
      if limit.answer and (peek or not allowed) then
        note(limit, limit.algorithm.decide(limit.key, now, 0, limit.args))
      elseif not peek then
        keep(limit)
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
      note(limit, limit.algorithm.charge(limit.key, now, limit.cost, limit.args))
    end
    for _, limit in ipairs(limits) do keep(limit) end
  end

  function operations.refund(limits)
    for _, limit in ipairs(limits) do
      local done, a, b, c =
        limit.algorithm.refund(limit.key, now, limit.cost, limit.args, limit.given)
      limit.answer = done and 1 or 0
      if done and a then
        limit.algorithm.save(limit.key, limit.args, true, a, text_of(a, b, c))
      end
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
      {'DEL', key}, {'RPUSH', key, 'a', 'b'}, {'PEXPIREAT', key, soon}, {'LLEN', key},
      {'LINDEX', key, '0'}, {'LRANGE', key, '0', '-1'}, {'LSET', key, '0', 'c'},
      {'LREM', key, '1', 'c'}, {'LTRIM', key, '0', '0'}, {'DEL', key},
    }) do
      call(unpack(command))
    end
    limits[1].answer = 1
  end

  local function limits_of(form, asked)
    local limits = {}
    for i, part in ipairs(form) do
      key_index = key_index + 1
      limits[i] = {
        key = KEYS[key_index], algorithm = part.algorithm, args = part.args,
        cost = asked[i].cost, given = asked[i].reading,
      }
    end
    return limits
  end

  return function(form, asked)
    local limits, parts = limits_of(form, asked), {}
    operations[form.operation](limits)
    for i, limit in ipairs(limits) do
      parts[i] = format(one, limit.answer)
      if limit.text then parts[i] = parts[i] .. ' ' .. limit.text end
    end
    return table.concat(parts, ' ')
  end
end

local forms = {}
for i = 1, take() + 0 do forms[i] = take_form() end

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

local decide
while position <= #ARGV do
  local form, count, saying = forms[take() + 0], take() + 0, take() + 0
  if form.operation == 'hit' and not form[2] then
    local algorithm, args = form[1].algorithm, form[1].args
    local cost
    for i = 1, count do
      if i <= saying then cost = take() + 0 end
      tell(pcall(hit, KEYS[key_index + i], algorithm, args, cost))
    end
    key_index = key_index + count
  else
    decide = decide or others()
    local asked
    for i = 1, count do
      if i <= saying then asked = take_asked(form) end
      tell(pcall(decide, form, asked))
    end
  end
end
return table.concat(lines, '\n')
