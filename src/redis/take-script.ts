import type { Quota } from '../guard/rules.ts'
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

/**
 * The script that takes a request's places in all limits of one rule, or none. A caller is one hash. A counter is one
 * field of three doubles: when its window began, how many are charged, how many were admitted. `~0` to `~7`: the last
 * attempts that were counted, and when. `~undone`: attempts that must not count any more, should they still come.
 *
 * ARGV: the attempt; whether it may be refused. Answers whether all were taken and the time; then for each limit: charged,
 * when its window began (0: it has not), and in a refusal whether it refuses.
 *
 * Written out for the rule, its numbers and fields in the text: sending and reading them for each request cost a third of
 * the whole. There are as many scripts as there are rules, and new ones when a month begins; `month`, by the caller's
 * clock, is believed only where Redis's own lies within.
 */
export function takeScript(quotas: readonly Quota[], month: Month): Script {
  const each = (write: (quota: Quota, n: number) => string, between = '\n') =>
    quotas.map((quota, index) => write(quota, index + 1)).join(between)
  const fields = quotas.map(({ counter }) => luaText(counter))
  return defineScript(
    'guard-take',
    `${NOW_IN_LUA}
local unpacked, packed, attempt = struct.unpack, struct.pack, ARGV[1]
local held = redis.call('HMGET', KEYS[1], ${[...fields, "'~undone'"].join(', ')})
local undone = held[${quotas.length + 1}]
if undone and string.find(undone, attempt, 1, true) then return {0, now} end
local spent, exhausted, lasts = false, false, 0
${quotas.some(({ windowMs }) => windowMs === 'month') ? monthInLua(month) : ''}
${each(
  ({ limit, ceiling, windowMs }, n) => `local start${n}, charged${n}, total${n} = 0, 0, 0
if held[${n}] then start${n}, charged${n}, total${n} = unpacked('<ddd', held[${n}]) end
${windowMs === 'month' ? monthOf(n) : windowOf(n, windowMs)}
if charged${n} >= ${limit} then spent = true end
if total${n} >= ${luaNumber(ceiling)} then exhausted = true end`,
)}
local refused = spent and ARGV[2] == '1'
if refused or exhausted then
  return {0, now${each(
    ({ limit, ceiling }, n) => `,
    charged${n}, total${n} == 0 and 0 or start${n},
    (total${n} >= ${luaNumber(ceiling)} or (refused and charged${n} >= ${limit})) and 1 or 0`,
    '',
  )}}
end
${
  quotas.length === 0
    ? ''
    : `redis.call('HSET', KEYS[1], ${each(
        (_quota, n) => `${fields[n - 1]}, packed('<ddd', start${n}, charged${n} + 1, total${n} + 1)`,
        ', ',
      )}, '~' .. total1 % 8, attempt .. now)
if lasts > 0 and redis.call('PTTL', KEYS[1]) < lasts then redis.call('PEXPIRE', KEYS[1], lasts) end`
}
return {1, now${each((_quota, n) => `, charged${n} + 1, start${n}`, '')}}`,
  )
}

function monthInLua({ start, end }: Month): string {
  return `local monthStart, monthEnd = ${start}, ${end}
if now < monthStart or now >= monthEnd then
  ${MONTH_IN_LUA}
  monthStart, monthEnd = month(now)
end`
}

function monthOf(n: number): string {
  return `if start${n} < monthStart then
  start${n}, charged${n}, total${n} = monthStart, 0, 0
  if monthEnd - now > lasts then lasts = monthEnd - now end
end`
}

function windowOf(n: number, windowMs: Milliseconds): string {
  return `if now >= start${n} + ${windowMs} then
  start${n}, charged${n}, total${n} = now, 0, 0
  if ${windowMs} > lasts then lasts = ${windowMs} end
end`
}

const luaNumber = (value: number) => (Number.isFinite(value) ? String(value) : 'math.huge')

/** A text as Lua reads it back, byte by byte: nothing in a name can become code. */
function luaText(text: string): string {
  return `'${[...Buffer.from(text)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join('')}'`
}
