import { LRUCache } from 'lru-cache'
import type { Clock, Milliseconds } from '../clock.ts'
import { HoldfastError } from '../errors.ts'
import type { Attempt, CallerKind, Count, CounterStore, Taken } from '../guard/counters.ts'
import type { Quota } from '../guard/rules.ts'
import { type Names, randomName } from '../key-ring.ts'
import { type Month, monthOf } from '../month.ts'
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
 * A caller is one hash. A counter is one field of three doubles: when its window began, how many are charged, how many
 * were admitted. `~0` to `~7`: the last attempts that were counted, and when the windows began that they went into.
 * `~undone`: attempts that must not count any more, should they still come.
 *
 * ARGV: the attempt, whether it may be refused, where this month begins and ends by the caller's clock (believed only
 * where Redis's own lies within), then for each limit: field, limit, ceiling, window (0 is the month). Answers whether
 * all were taken and the time; then for each limit: charged, when its window began (0: it has not), whether it refuses.
 */
const TAKE = defineScript(
  'guard-take',
  `${NOW_IN_LUA}
local unpacked, packed = struct.unpack, struct.pack
local count = (#ARGV - 4) / 4
local fields = {}
for index = 1, count do fields[index] = ARGV[index * 4 + 1] end
fields[count + 1] = '~undone'
local held = redis.call('HMGET', KEYS[1], unpack(fields))
local attempt = ARGV[1]
if held[count + 1] and string.find(held[count + 1], attempt, 1, true) then return {0, now} end
local starts, used, admitted = {}, {}, {}
local monthStart, monthEnd
local spent, exhausted = false, false
for index = 1, count do
  local at = index * 4 + 1
  local start, charged, total = 0, 0, 0
  local value = held[index]
  if ARGV[at + 3] == '0' then
    if not monthStart then
      monthStart, monthEnd = tonumber(ARGV[3]), tonumber(ARGV[4])
      if now < monthStart or now >= monthEnd then
        ${MONTH_IN_LUA}
        monthStart, monthEnd = month(now)
      end
    end
    if value then start, charged, total = unpacked('<ddd', value) end
    if start < monthStart then start, charged, total = 0, 0, 0 end
  elseif value then
    start, charged, total = unpacked('<ddd', value)
    if now >= start + ARGV[at + 3] then start, charged, total = 0, 0, 0 end
  end
  starts[index], used[index], admitted[index] = start, charged, total
  if charged >= tonumber(ARGV[at + 1]) then spent = true end
  if total >= tonumber(ARGV[at + 2]) then exhausted = true end
end
local refused = spent and ARGV[2] == '1'
if refused or exhausted then
  local reply = {0, now}
  for index = 1, count do
    local at = index * 4 + 1
    local refuses = admitted[index] >= tonumber(ARGV[at + 2]) or (refused and used[index] >= tonumber(ARGV[at + 1]))
    reply[index * 3] = used[index]
    reply[index * 3 + 1] = starts[index]
    reply[index * 3 + 2] = refuses and 1 or 0
  end
  return reply
end
local reply = {1, now}
if count == 0 then return reply end
local writes = {}
local note = attempt
local lasts = 0
for index = 1, count do
  local start = starts[index]
  if start == 0 then
    local ends
    if ARGV[index * 4 + 4] == '0' then
      start, ends = monthStart, monthEnd
    else
      start, ends = now, now + ARGV[index * 4 + 4]
    end
    if ends - now > lasts then lasts = ends - now end
  end
  local charged = used[index] + 1
  local value = packed('<ddd', start, charged, admitted[index] + 1)
  writes[index * 2 - 1] = fields[index]
  writes[index * 2] = value
  note = note .. string.sub(value, 1, 8)
  reply[index * 3] = charged
  reply[index * 3 + 1] = start
  reply[index * 3 + 2] = 0
end
writes[count * 2 + 1] = '~' .. (admitted[1] % 8)
writes[count * 2 + 2] = note
redis.call('HSET', KEYS[1], unpack(writes))
if lasts > 0 and redis.call('PTTL', KEYS[1]) < lasts then redis.call('PEXPIRE', KEYS[1], lasts) end
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
    local start, used, admitted = struct.unpack('<ddd', held)
    local windowMs = tonumber(ARGV[index + 1])
    local over = windowMs > 0 and now >= start + windowMs
    if windowMs == 0 then
      ${MONTH_IN_LUA}
      over = start < month(now)
    end
    if start == tonumber(ARGV[index + 2]) and used > 0 and not over then
      redis.call('HSET', KEYS[1], ARGV[index], struct.pack('<ddd', start, used - 1, admitted))
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
  `local attempt = ARGV[1]
local found = false
for slot = 0, 7 do
  local note = redis.call('HGET', KEYS[1], '~' .. slot)
  if note and string.sub(note, 1, #attempt) == attempt then
    for index = 2, #ARGV do
      local held = redis.call('HGET', KEYS[1], ARGV[index])
      local begun = string.sub(note, #attempt + (index - 2) * 8 + 1, #attempt + (index - 1) * 8)
      if held and string.sub(held, 1, 8) == begun then
        local start, used, admitted = struct.unpack('<ddd', held)
        if used > 0 then redis.call('HSET', KEYS[1], ARGV[index], struct.pack('<ddd', start, used - 1, admitted)) end
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

/** Keys of callers that came lately: naming one costs as much as all else that is done here for a request. */
const KEYS_REMEMBERED = 10_000

/**
 * Counts in Redis, for all processes: every limit of a request in one script, in one slot, by Redis's own clock. A take
 * whose answer does not come may have been counted, or may be counted later: undoing it is written down and done as soon
 * as Redis answers again, and holds in either order.
 */
export class GuardCounters implements CounterStore {
  readonly #connection: RedisConnection
  readonly #naming: Naming
  readonly #timeoutMs: Milliseconds
  readonly #clock: Clock
  readonly #ownName = randomName()
  #named = 0
  #names: Names | undefined
  readonly #keys = new LRUCache<string, string>({ max: KEYS_REMEMBERED })
  #month: Month = { start: 0, end: 0 }
  readonly #owed = new Map<string, { readonly key: string; readonly fields: readonly string[] }>()

  constructor(connection: RedisConnection, naming: Naming, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    this.#naming = naming
    this.#timeoutMs = Math.min(connection.readTimeoutMs, LONGEST_TAKE_MS)
  }

  attempt(kind: CallerKind, id: string, quotas: readonly Quota[], mayRefuse: boolean): Attempt {
    const name = this.#nextName()
    let key: string | undefined
    const take = async (): Promise<Taken> => {
      if (!this.#connection.isUp) await this.#connection.reach(this.#timeoutMs)
      key = this.#keyOf(kind, id)
      const { start, end } = this.#thisMonth()
      const args: Array<string | number> = [name, mayRefuse ? 1 : 0, start, end]
      for (const { counter, limit, ceiling, windowMs } of quotas)
        args.push(counter, limit, ceiling, windowMs === 'month' ? 0 : windowMs)
      const reply = await this.#connection.run(TAKE, [key], args, this.#timeoutMs)
      if (this.#owed.size > 0) this.#payBack()
      return new TakenInRedis(this.#connection, key, quotas, reply as number[])
    }
    return {
      taken: take(),
      undo: () => {
        if (key === undefined) return
        this.#owed.set(name, { key, fields: quotas.map(({ counter }) => counter) })
        if (this.#owed.size > MOST_OWED) this.#owed.delete(this.#owed.keys().next().value!)
        if (this.#connection.isUp) this.#payBack()
      },
    }
  }

  /** Always of one length, so that no name begins with another. */
  #nextName(): string {
    this.#named++
    return `${this.#ownName}${this.#named.toString(36).padStart(8, '0')}`
  }

  #keyOf(kind: CallerKind, id: string): string {
    const { names } = this.#naming
    if (names !== this.#names) {
      // Another key names them from now on.
      this.#names = names
      this.#keys.clear()
    }
    const caller = `${kind} ${id}`
    let key = this.#keys.get(caller)
    if (key === undefined) {
      key = `${this.#connection.prefix}{${names.of(`guard ${kind}`, id)}}:guard:counts`
      this.#keys.set(caller, key)
    }
    return key
  }

  #thisMonth(): Month {
    const now = this.#clock.now()
    if (now < this.#month.start || now >= this.#month.end) this.#month = monthOf(now)
    return this.#month
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

class TakenInRedis implements Taken {
  readonly admitted: boolean
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #quotas: readonly Quota[]
  /** Whether all were taken, Redis's time, then for each limit: charged, begun, whether it refuses. */
  readonly #reply: readonly number[]
  #counts: readonly Count[] | undefined

  constructor(connection: RedisConnection, key: string, quotas: readonly Quota[], reply: readonly number[]) {
    this.#connection = connection
    this.#key = key
    this.#quotas = quotas
    this.#reply = reply
    this.admitted = reply[0] === 1
  }

  get counts(): readonly Count[] {
    this.#counts ??= this.#quotas.map(({ windowMs }, index) => {
      const now = this.#reply[1]!
      const [used, start, refuses] = this.#reply.slice(2 + index * 3) as [number, number, number]
      const begun = start > 0
      if (windowMs !== 'month')
        return { used, resetInMs: begun ? start + windowMs - now : windowMs, windowMs, refuses: refuses === 1 }
      const month = monthOf(begun ? start : now)
      return { used, resetInMs: month.end - now, windowMs: month.end - month.start, refuses: refuses === 1 }
    })
    return this.#counts
  }

  get retryAfterMs(): Milliseconds {
    return this.counts.reduce((ms, count) => (count.refuses ? Math.max(ms, count.resetInMs) : ms), 0)
  }

  /** Sent once and never again: whether a refund that was not answered was given, nobody knows. */
  async refund(): Promise<boolean> {
    if (this.#quotas.length === 0) return false
    const args = this.#quotas.flatMap(({ counter, windowMs }, index) => [
      counter,
      windowMs === 'month' ? 0 : windowMs,
      this.#reply[3 + index * 3]!,
    ])
    try {
      return Number(await this.#connection.run(REFUND, [this.#key], args)) > 0
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'REDIS_UNAVAILABLE') return false
      throw error
    }
  }
}
