-- Reads transactions from ARGV, decides them one by one, answers with one flat list of numbers.
-- A transaction: operation, how many limits, and for each its algorithm, cost, the algorithm's
-- numbers, and for a refund the reading of the decision. An answer: for each limit whether it is
-- allowed (or the units charged or refunded) and the reading; or one text if it failed.
local position, key_index = 2, 0

local function take()
  position = position + 1
  return ARGV[position - 1]
end

local function take_numbers(count)
  local numbers = {}
  for i = 1, count do numbers[i] = tonumber(take()) end
  return numbers
end

local function take_limit(operation)
  key_index = key_index + 1
  local algorithm = algorithms[take()]
  local limit = {key = KEYS[key_index], algorithm = algorithm, cost = tonumber(take())}
  limit.args = take_numbers(algorithm.arity)
  if operation == 'refund' then limit.reading = take_numbers(algorithm.reading_size) end
  return limit
end

local function keep(limit)
  if limit.after then
    limit.algorithm.save(limit.key, limit.after, now, limit.args, limit.algorithm)
  end
end

-- A denial charges none of the limits: those that allowed report what they have without it.
local function decide_all(limits, peek)
  local allowed = true
  for _, limit in ipairs(limits) do
    limit.answer, limit.reading, limit.after =
      limit.algorithm.decide(limit.key, now, limit.cost, limit.args)
    allowed = allowed and limit.answer
  end
  for _, limit in ipairs(limits) do
    if limit.answer and (peek or not allowed) then
      local _, reading = limit.algorithm.decide(limit.key, now, 0, limit.args)
      limit.reading = reading
    elseif not peek then
      keep(limit)
    end
    limit.answer = limit.answer and 1 or 0
  end
end

local operations = {
  hit = function(limits) decide_all(limits, false) end,
  peek = function(limits) decide_all(limits, true) end,
  charge = function(limits)
    for _, limit in ipairs(limits) do
      limit.answer, limit.reading, limit.after =
        limit.algorithm.charge(limit.key, now, limit.cost, limit.args)
    end
    for _, limit in ipairs(limits) do keep(limit) end
  end,
  refund = function(limits)
    for _, limit in ipairs(limits) do
      local done
      limit.after, done =
        limit.algorithm.refund(limit.key, now, limit.cost, limit.args, limit.reading)
      limit.answer = (limit.after or done) and 1 or 0
      keep(limit)
    end
  end,
}

local reply = {now}
while position <= #ARGV do
  local operation = take()
  local limits = {}
  for i = 1, tonumber(take()) do limits[i] = take_limit(operation) end
  local done, failure = pcall(operations[operation], limits)
  if done then
    for _, limit in ipairs(limits) do
      reply[#reply + 1] = limit.answer
      for i = 1, limit.algorithm.reading_size do reply[#reply + 1] = limit.reading[i] end
    end
  else
    reply[#reply + 1] = type(failure) == 'table' and failure.err or tostring(failure)
  end
end
return reply
