import type { Milliseconds } from '../clock.ts'
import { HoldfastError } from '../errors.ts'
import type { Attempt, CallerKind, Count, CounterStore, Taken } from '../guard/counters.ts'
import type { Quota } from '../guard/rules.ts'
import { randomName } from '../key-ring.ts'
import type { RedisConnection } from './connection.ts'
import type { Naming } from './naming.ts'
import { defineScript } from './script.ts'

/** A decision is never later than this, whatever Redis does. */
const LONGEST_TAKE_MS: Milliseconds = 100
/** Undoings that wait for Redis to be back; of more, the oldest are forgotten, and their requests stay counted. */
const MOST_OWED = 1_000

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

const NOW_IN_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/**
 * A caller is one hash. A counter is one field: when its window began, how many are charged, how many were admitted.
 * `~0` to `~15`: the last attempts that were counted, and into which windows. `~undone`: attempts that must not count
 * any more, should they still come.
 *
 * ARGV: the attempt, whether it may be refused, then for each limit: field, limit, ceiling, window (0 is the month).
 * Answers whether all were taken, then for each limit: charged, begun, how long it lasts, how long it is, whether it
 * refuses.
 */
const TAKE = defineScript(
  'guard-take',
  `${MONTH_IN_LUA}
${NOW_IN_LUA}
local fields = {}
for index = 3, #ARGV, 4 do fields[#fields + 1] = ARGV[index] end
fields[#fields + 1] = '~undone'
local held = redis.call('HMGET', KEYS[1], unpack(fields))
local count = #fields - 1
local undone = held[count + 1]
if undone and string.find(undone, ARGV[1], 1, true) then return {0} end
local starts, used, admitted, ends, lengths = {}, {}, {}, {}, {}
local monthStart, monthEnd
local spent, exhausted = false, false
for index = 1, count do
  local at = index * 4 - 1
  local windowMs = tonumber(ARGV[at + 3])
  local start, charged, total
  if held[index] then start, charged, total = string.match(held[index], '^(%d+) (%d+) (%d+)$') end
  start, charged, total = tonumber(start), tonumber(charged), tonumber(total)
  local over = true
  if windowMs == 0 then
    if not monthStart then monthStart, monthEnd = month(now) end
    if start and start >= monthStart then
      over = false
      if start == monthStart then ends[index] = monthEnd else local _, later = month(start) ends[index] = later end
    end
    lengths[index] = monthEnd - monthStart
  else
    if start and now < start + windowMs then
      over = false
      ends[index] = start + windowMs
    end
    lengths[index] = windowMs
  end
  if over then charged, total, start = 0, 0, nil end
  starts[index], used[index], admitted[index] = start, charged, total
  if charged >= tonumber(ARGV[at + 1]) then spent = true end
  if total >= tonumber(ARGV[at + 2]) then exhausted = true end
end
local refused = spent and ARGV[2] == '1'
local admit = not refused and not exhausted
local reply = {admit and 1 or 0}
local writes = {}
local note = ARGV[1]
local lasts = 0
for index = 1, count do
  local at = index * 4 - 1
  local refuses = 0
  if admit then
    if not starts[index] then
      if ARGV[at + 3] == '0' then
        starts[index], ends[index] = monthStart, monthEnd
      else
        starts[index], ends[index] = now, now + lengths[index]
      end
      if ends[index] - now > lasts then lasts = ends[index] - now end
    end
    used[index] = used[index] + 1
    admitted[index] = admitted[index] + 1
    writes[#writes + 1] = ARGV[at]
    writes[#writes + 1] = string.format('%.0f %d %d', starts[index], used[index], admitted[index])
    note = note .. string.format(' %.0f', starts[index])
  elseif admitted[index] >= tonumber(ARGV[at + 2]) or (refused and used[index] >= tonumber(ARGV[at + 1])) then
    refuses = 1
  end
  reply[#reply + 1] = used[index]
  reply[#reply + 1] = starts[index] or 0
  reply[#reply + 1] = ends[index] and ends[index] - now or (ARGV[at + 3] == '0' and monthEnd - now or lengths[index])
  reply[#reply + 1] = lengths[index]
  reply[#reply + 1] = refuses
end
if admit and count > 0 then
  writes[#writes + 1] = '~' .. (admitted[1] % 16)
  writes[#writes + 1] = note
  redis.call('HSET', KEYS[1], unpack(writes))
  if lasts > 0 and redis.call('PTTL', KEYS[1]) < lasts then redis.call('PEXPIRE', KEYS[1], lasts) end
end
return reply`,
)

/** ARGV: for each limit: field, window, when the charged window began. Answers how many were given back. */
const REFUND = defineScript(
  'guard-refund',
  `${NOW_IN_LUA}
local given = 0
for index = 1, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[1], ARGV[index])
  if held then
    local start, used, admitted = string.match(held, '^(%d+) (%d+) (%d+)$')
    local windowMs = tonumber(ARGV[index + 1])
    if start == ARGV[index + 2] and tonumber(used) > 0 and (windowMs == 0 or now < start + windowMs) then
      redis.call('HSET', KEYS[1], ARGV[index], string.format('%s %d %s', start, used - 1, admitted))
      given = given + 1
    end
  end
end
return given`,
)

/** How long an attempt may still come after it was undone. */
const UNDONE_KEPT_MS: Milliseconds = 60_000

/**
 * ARGV: the attempt, then for each limit its field. Where the attempt was counted, it is given back; in any case it will
 * not be counted any more. Running it twice changes nothing the second time.
 */
const UNDO = defineScript(
  'guard-undo',
  `local found = false
for slot = 0, 15 do
  local note = redis.call('HGET', KEYS[1], '~' .. slot)
  if note and string.sub(note, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
    local index = 2
    for begun in string.gmatch(string.sub(note, #ARGV[1] + 1), '%d+') do
      local held = ARGV[index] and redis.call('HGET', KEYS[1], ARGV[index])
      if held then
        local start, used, admitted = string.match(held, '^(%d+) (%d+) (%d+)$')
        if start == begun and tonumber(used) > 0 then
          redis.call('HSET', KEYS[1], ARGV[index], string.format('%s %d %s', start, used - 1, admitted))
        end
      end
      index = index + 1
    end
    redis.call('HDEL', KEYS[1], '~' .. slot)
    found = true
  end
end
local undone = redis.call('HGET', KEYS[1], '~undone') or ''
if not string.find(undone, ARGV[1], 1, true) then
  redis.call('HSET', KEYS[1], '~undone', string.sub(ARGV[1] .. ' ' .. undone, 1, 200))
end
if redis.call('PTTL', KEYS[1]) < ${UNDONE_KEPT_MS} then redis.call('PEXPIRE', KEYS[1], ${UNDONE_KEPT_MS}) end
return found and 1 or 0`,
)

/**
 * Counts in Redis, for all processes: every limit of a request in one script, in one slot, by Redis's own clock. A take
 * whose answer does not come may have been counted, or may be counted later: undoing it is written down and done as soon
 * as Redis answers again, and holds in either order.
 */
export class GuardCounters implements CounterStore {
  readonly #connection: RedisConnection
  readonly #naming: Naming
  readonly #timeoutMs: Milliseconds
  readonly #owed = new Map<string, { readonly key: string; readonly fields: readonly string[] }>()

  constructor(connection: RedisConnection, naming: Naming) {
    this.#connection = connection
    this.#naming = naming
    this.#timeoutMs = Math.min(connection.readTimeoutMs, LONGEST_TAKE_MS)
  }

  attempt(kind: CallerKind, id: string, quotas: readonly Quota[], mayRefuse: boolean): Attempt {
    const name = randomName()
    let key: string | undefined
    const taken = (async () => {
      if (!this.#connection.isUp) await this.#connection.reach(this.#timeoutMs)
      key = `${this.#connection.prefix}{${this.#naming.names.of(`guard ${kind}`, id)}}:guard:counts`
      const args: Array<string | number> = [name, mayRefuse ? 1 : 0]
      for (const { counter, limit, ceiling, windowMs } of quotas)
        args.push(counter, limit, ceiling, windowMs === 'month' ? 0 : windowMs)
      const reply = (await this.#connection.run(TAKE, [key], args, this.#timeoutMs)) as unknown[]
      if (this.#owed.size > 0) this.#payBack()
      return new TakenInRedis(this.#connection, key, quotas, reply.map(Number))
    })()
    return {
      taken,
      undo: () => {
        if (key === undefined) return
        this.#owed.set(name, { key, fields: quotas.map(({ counter }) => counter) })
        if (this.#owed.size > MOST_OWED) this.#owed.delete(this.#owed.keys().next().value!)
        if (this.#connection.isUp) this.#payBack()
      },
    }
  }

  #payBack(): void {
    for (const [name, { key, fields }] of this.#owed) {
      this.#owed.delete(name)
      this.#connection.run(UNDO, [key], [name, ...fields]).catch((error: unknown) => {
        // Undone twice is undone once, so it can be tried again whether or not it was done.
        if (error instanceof HoldfastError && error.code === 'REDIS_UNAVAILABLE') this.#owed.set(name, { key, fields })
      })
    }
  }
}

/** Numbers a limit has in the reply of TAKE. */
const NUMBERS = 5

class TakenInRedis implements Taken {
  readonly admitted: boolean
  readonly counts: readonly Count[]
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #quotas: readonly Quota[]
  readonly #reply: readonly number[]

  constructor(connection: RedisConnection, key: string, quotas: readonly Quota[], reply: readonly number[]) {
    this.#connection = connection
    this.#key = key
    this.#quotas = quotas
    this.#reply = reply
    this.admitted = reply[0] === 1
    this.counts = quotas.map((_, index) => {
      const [used, , resetInMs, windowMs, refuses] = reply.slice(1 + index * NUMBERS)
      return { used: used!, resetInMs: resetInMs!, windowMs: windowMs!, refuses: refuses === 1 }
    })
  }

  get retryAfterMs(): Milliseconds {
    return this.counts.reduce((ms, count) => (count.refuses ? Math.max(ms, count.resetInMs) : ms), 0)
  }

  /** Sent once and never again: whether a refund that was not answered was given, nobody knows. */
  async refund(): Promise<boolean> {
    const args = this.#quotas.flatMap(({ counter, windowMs }, index) => [
      counter,
      windowMs === 'month' ? 0 : windowMs,
      this.#reply[2 + index * NUMBERS]!,
    ])
    try {
      return Number(await this.#connection.run(REFUND, [this.#key], args)) > 0
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'REDIS_UNAVAILABLE') return false
      throw error
    }
  }
}
