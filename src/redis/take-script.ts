import type { AppliedLimit } from '../guard/applied-limit.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Month } from '../time/month.ts'
import { defineScript, type Script } from './script.ts'

/**
 * `month(now)`: where the calendar month of an epoch time begins and ends, UTC, in milliseconds. Days are counted from a
 * first of March, so that a leap day is the last of its year.
 */
export const MONTH_IN_LUA = `
local function first(year, month)
  if month <= 2 then year = year - 1 end
  local shifted = (month + 9) % 12
  local era = math.floor(year / 400)
  local ofEra = year - era * 400
  local days = era * 146097 + ofEra * 365 + math.floor(ofEra / 4) - math.floor(ofEra / 100)
  return (days + math.floor((153 * shifted + 2) / 5) - 719468) * 86400000
end
local function month(now)
  local days = math.floor(now / 86400000) + 719468
  local era = math.floor(days / 146097)
  local ofEra = days - era * 146097
  local years = math.floor((ofEra - math.floor(ofEra / 1460) + math.floor(ofEra / 36524) - math.floor(ofEra / 146096)) / 365)
  local ofYear = ofEra - (365 * years + math.floor(years / 4) - math.floor(years / 100))
  local shifted = math.floor((5 * ofYear + 2) / 153)
  local number = (shifted + 2) % 12 + 1
  local year = era * 400 + years
  if number <= 2 then year = year + 1 end
  if number == 12 then return first(year, 12), first(year + 1, 1) end
  return first(year, number), first(year, number + 1)
end`

export const NOW_IN_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/** More limits than this are read and written one by one: a Lua function has 200 variables, and 250 arguments. */
const MOST_AT_ONCE = 20

/** How many arguments each request of a take has, after all keys. */
export const takeArguments = (limits: readonly AppliedLimit[]) => (costsPoints(limits) ? 2 + limits.length : 2)

/** Whether a request can cost anything but one point in each limit. */
export const costsPoints = (limits: readonly AppliedLimit[]) => limits.some(({ cost }) => cost !== 1)

/** How many numbers the answer has for each limit: one more in a refusal, and one more where it slides. */
export const answerLength = ({ sliding }: AppliedLimit, admitted: boolean) => (admitted ? 2 : 3) + (sliding ? 1 : 0)

/**
 * The script that takes the places of requests in all limits of one rule, for each request all or none: those of one turn
 * of the event loop together. A caller is one hash, KEYS[k] that of the k-th request. A counter is one field of three
 * doubles: when its window began, how many points are charged, how many were admitted; where it slides, a fourth: what
 * the window before held. `~0` to `~7`: the last attempts that were counted, and when. `~undone`: attempts that must not
 * count any more, should they still come.
 *
 * ARGV, for each request: the attempt; whether it may be refused; where requests cost points, those of each limit.
 * Answers with the time, then for each request: 1 where all were taken, 0 where none, -1 and why where its hash is none;
 * then for each limit: charged, when its window began (0: it has not), in a refusal whether it refuses (2: because of
 * all that was admitted), and where it slides what the window before held.
 *
 * Written out for the rule, its numbers and fields in the text: sending and reading them for each request cost a third of
 * the whole. There are as many scripts as there are rules, and new ones when a month begins; `month`, by the caller's
 * clock, is believed only where Redis's own lies within.
 */
export function takeScript(limits: readonly AppliedLimit[], month: Month): Script {
  const count = limits.length
  const many = count > MOST_AT_ONCE
  const withCosts = costsPoints(limits)
  const each = (write: (limit: AppliedLimit, n: number) => string, between = '\n') =>
    limits.map((limit, index) => write(limit, index + 1)).join(between)
  const fields = limits.map(({ counter }) => luaText(counter))
  const v = (name: string, n: number) => (many ? `${name}[${n}]` : `${name}${n}`)
  const cost = (n: number) => (withCosts ? v('cost', n) : '1')
  const names = (limit: AppliedLimit, n: number) =>
    ['start', 'charged', 'total', ...(limit.sliding ? ['before'] : [])].map((name) => v(name, n)).join(', ')
  const packed = (limit: AppliedLimit, n: number) =>
    `pack('<ddd${limit.sliding ? 'd' : ''}', ${v('start', n)}, ${v('charged', n)} + ${cost(n)}, ${v('total', n)} + ${cost(n)}${limit.sliding ? `, ${v('before', n)}` : ''})`
  const note = `'~' .. ${withCosts || count === 0 ? '(string.byte(attempt, #attempt) or 0) % 8' : `${v('total', 1)} % 8`}, attempt .. now`
  return defineScript(
    'guard-take',
    `${NOW_IN_LUA}
local unpack, pack = struct.unpack, struct.pack
${limits.some(({ windowMs }) => windowMs === 'month') ? monthInLua(month) : ''}
local answer, at, argument = {now}, 1, 1
for k = 1, #KEYS do
  local key, attempt, mayRefuse = KEYS[k], ARGV[argument], ARGV[argument + 1] == '1'
  ${many ? 'local start, charged, total, before, over, cost = {}, {}, {}, {}, {}, {}' : ''}
  ${withCosts ? each((_limit, n) => `${many ? '' : 'local '}${v('cost', n)} = tonumber(ARGV[argument + ${n + 1}])`) : ''}
  argument = argument + ${takeArguments(limits)}
  local held = redis.pcall('HMGET', key, '~undone'${many ? '' : each((_limit, n) => `, ${fields[n - 1]}`, '')})
  if held.err then
    answer[at + 1], answer[at + 2] = -1, held.err
    at = at + 2
  elseif held[1] and string.find(held[1], attempt, 1, true) then
    answer[at + 1], answer[at + 2] = -1, 'undone'
    at = at + 2
  else
    ${many ? each((_limit, n) => `held[${n + 1}] = redis.call('HGET', key, ${fields[n - 1]})`) : ''}
    local spent, exhausted, lasts = false, false, 0
    ${each(
      (limit, n) => `${many ? '' : 'local '}${names(limit, n)} = 0, 0, 0${limit.sliding ? ', 0' : ''}
    if held[${n + 1}] then ${names(limit, n)} = unpack('<ddd${limit.sliding ? 'd' : ''}', held[${n + 1}]) end
    ${limit.windowMs === 'month' ? monthOf(v, n) : limit.sliding ? slidingOf(v, n, limit.windowMs) : windowOf(v, n, limit.windowMs)}
    ${many ? '' : 'local '}${v('over', n)} = ${isSpent(limit, v, n, cost(n))}
    if ${v('over', n)} then spent = true end
    if ${v('total', n)} + ${cost(n)} > ${luaNumber(limit.ceiling)} then exhausted = true end`,
    )}
    local refused = spent and mayRefuse
    if refused or exhausted then
      answer[at + 1] = 0
      at = at + 1
      ${each(
        (
          limit,
          n,
        ) => `answer[at + 1], answer[at + 2] = ${v('charged', n)}, ${v('total', n)} == 0${limit.sliding ? ` and ${v('before', n)} == 0` : ''} and 0 or ${v('start', n)}
      answer[at + 3] = ${v('total', n)} + ${cost(n)} > ${luaNumber(limit.ceiling)} and 2 or (refused and ${v('over', n)}) and 1 or 0
      ${limit.sliding ? `answer[at + 4] = ${v('before', n)}` : ''}
      at = at + ${answerLength(limit, false)}`,
      )}
    else
      ${
        count === 0
          ? ''
          : many
            ? `${each((limit, n) => `redis.call('HSET', key, ${fields[n - 1]}, ${packed(limit, n)})`)}
      redis.call('HSET', key, ${note})`
            : `redis.call('HSET', key, ${each((limit, n) => `${fields[n - 1]}, ${packed(limit, n)}`, ', ')}, ${note})`
      }
      if lasts > 0 and redis.call('PTTL', key) < lasts then redis.call('PEXPIRE', key, lasts) end
      answer[at + 1] = 1
      at = at + 1
      ${each(
        (limit, n) => `answer[at + 1], answer[at + 2] = ${v('charged', n)} + ${cost(n)}, ${v('start', n)}
      ${limit.sliding ? `answer[at + 3] = ${v('before', n)}` : ''}
      at = at + ${answerLength(limit, true)}`,
      )}
    end
  end
end
return answer`,
  )
}

type Variable = (name: string, n: number) => string

function isSpent({ limit, sliding, windowMs }: AppliedLimit, v: Variable, n: number, cost: string): string {
  if (!sliding) return `${v('charged', n)} + ${cost} > ${limit}`
  // In products, as in `time/sliding-window.ts`: the quotient would round.
  return `(${v('charged', n)} + ${cost}) * ${windowMs} + ${v('before', n)} * (${v('start', n)} + ${windowMs} - now) > ${limit} * ${windowMs}`
}

function monthInLua({ start, end }: Month): string {
  return `local monthStart, monthEnd = ${start}, ${end}
if now < monthStart or now >= monthEnd then
  ${MONTH_IN_LUA}
  monthStart, monthEnd = month(now)
end`
}

function monthOf(v: Variable, n: number): string {
  return `if ${v('start', n)} < monthStart then
      ${v('start', n)}, ${v('charged', n)}, ${v('total', n)} = monthStart, 0, 0
      if monthEnd - now > lasts then lasts = monthEnd - now end
    end`
}

function windowOf(v: Variable, n: number, windowMs: Milliseconds): string {
  return `if now >= ${v('start', n)} + ${windowMs} then
      ${v('start', n)}, ${v('charged', n)}, ${v('total', n)} = now, 0, 0
      if ${windowMs} > lasts then lasts = ${windowMs} end
    end`
}

function slidingOf(v: Variable, n: number, windowMs: Milliseconds): string {
  return `if now >= ${v('start', n)} + ${windowMs} then
      if now >= ${v('start', n)} + ${2 * windowMs} then ${v('start', n)}, ${v('before', n)} = now, 0
      else ${v('start', n)}, ${v('before', n)} = ${v('start', n)} + ${windowMs}, ${v('charged', n)} end
      ${v('charged', n)}, ${v('total', n)} = 0, 0
      if ${2 * windowMs} > lasts then lasts = ${2 * windowMs} end
    end`
}

const luaNumber = (value: number) => (Number.isFinite(value) ? String(value) : 'math.huge')

/** A text as Lua reads it back, byte by byte: nothing in a name can become code. */
function luaText(text: string): string {
  return `'${[...Buffer.from(text)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join('')}'`
}
