import type { Milliseconds } from '../time/clock.ts'
import { defineScript } from './script.ts'
import { MONTH_IN_LUA, NOW_IN_LUA } from './take-script.ts'

/** A counter's field (`take-script.ts`) taken apart, and put together again. */
const FIELD_IN_LUA = `
local function read(held)
  local start, used, admitted = struct.unpack('<ddd', held)
  return start, used, admitted, #held == 32 and struct.unpack('<d', string.sub(held, 25)) or nil
end
local function written(start, used, admitted, before)
  if before then return struct.pack('<dddd', start, used, admitted, before) end
  return struct.pack('<ddd', start, used, admitted)
end`

/**
 * ARGV, for each limit: field, window, when the charged window began, points. Answers how many were given back. A window
 * that slides still counts while the next one passes.
 */
export const REFUND = defineScript(
  'guard-refund',
  `${NOW_IN_LUA}
${FIELD_IN_LUA}
local given = 0
for index = 1, #ARGV, 4 do
  local held = redis.call('HGET', KEYS[1], ARGV[index])
  if held then
    local start, used, admitted, before = read(held)
    local windowMs, charged, points = tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2]), tonumber(ARGV[index + 3])
    local over = windowMs > 0 and now >= start + windowMs
    if windowMs == 0 then
      ${MONTH_IN_LUA}
      over = start < month(now)
    end
    local done = true
    if start == charged and (not over or (before and now < start + 2 * windowMs)) then used = math.max(0, used - points)
    elseif before and start == charged + windowMs and not over then before = math.max(0, before - points)
    else done = false end
    if done and points > 0 then
      redis.call('HSET', KEYS[1], ARGV[index], written(start, used, admitted, before))
      given = given + 1
    end
  end
end
return given`,
)

/** How long an attempt may still come after it was undone. */
const UNDONE_KEPT_MS: Milliseconds = 60_000

/**
 * ARGV: the attempt, then for each limit its field and points. Where the attempt was counted, it is given back; in any
 * case it will not be counted any more. Running it twice changes nothing the second time.
 */
export const UNDO = defineScript(
  'guard-undo',
  `${FIELD_IN_LUA}
local attempt = ARGV[1]
local found = false
for slot = 0, 7 do
  local note = redis.call('HGET', KEYS[1], '~' .. slot)
  if note and string.sub(note, 1, #attempt) == attempt then
    local at = tonumber(string.sub(note, #attempt + 1))
    for index = 2, #ARGV, 2 do
      local held = redis.call('HGET', KEYS[1], ARGV[index])
      local points = tonumber(ARGV[index + 1])
      if held then
        local start, used, admitted, before = read(held)
        -- A window that began later is not the one that was charged; where it slides, the one before may be.
        if start <= at then used = math.max(0, used - points)
        elseif before then before = math.max(0, before - points) end
        redis.call('HSET', KEYS[1], ARGV[index], written(start, used, admitted, before))
      end
    end
    redis.call('HDEL', KEYS[1], '~' .. slot)
    found = true
  end
end
local undone = redis.call('HGET', KEYS[1], '~undone') or ''
if not string.find(undone, attempt, 1, true) then
  redis.call('HSET', KEYS[1], '~undone', string.sub(attempt .. ' ' .. undone, 1, 200))
end
if redis.call('PTTL', KEYS[1]) < ${UNDONE_KEPT_MS} then redis.call('PEXPIRE', KEYS[1], ${UNDONE_KEPT_MS}) end
return found and 1 or 0`,
)

/** ARGV: fields. Answers with the time, then for each field: charged, when its window began (0: it has not), what the window before held. */
export const LOOK = defineScript(
  'guard-look',
  `${NOW_IN_LUA}
${FIELD_IN_LUA}
local answer = {now}
for index = 1, #ARGV do
  local held = redis.call('HGET', KEYS[1], ARGV[index])
  local start, used, admitted, before = 0, 0, 0, 0
  if held then start, used, admitted, before = read(held) end
  local at = #answer
  answer[at + 1], answer[at + 2], answer[at + 3] = used, start, before or 0
end
return answer`,
)

export const FORGET = defineScript('guard-forget', "return redis.call('DEL', KEYS[1])")
