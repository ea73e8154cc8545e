import { LRUCache } from 'lru-cache'
import type { Clock, Milliseconds } from '../clock.ts'
import { HoldfastError } from '../errors.ts'
import type { Attempt, CallerKind, Count, CounterStore, Taken } from '../guard/counters.ts'
import type { Quota } from '../guard/rules.ts'
import { type Names, uniqueToken } from '../key-ring.ts'
import { type Month, monthOf } from '../month.ts'
import type { RedisConnection } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
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
 * were admitted. `~0` to `~7`: the last attempts that were counted, and when. `~undone`: attempts that must not count any
 * more, should they still come.
 *
 * ARGV: the attempt; whether it may be refused; doubles: where this month begins and ends by the caller's clock (believed
 * only where Redis's own lies within), then for each limit: limit, ceiling, window (0 is the month); then the field of
 * each limit, and `~undone`. Answers whether all were taken and the time; then for each limit: charged, when its window
 * began (0: it has not), and in a refusal whether it refuses. Written for speed: numbers come packed, tables have their size from the
 * start, and what will be written if all is well is made in the one pass over the limits.
 */
const TAKE = defineScript(
  'guard-take',
  `${NOW_IN_LUA}
local unpacked, packed, numbers = struct.unpack, struct.pack, ARGV[3]
local attempt, count = ARGV[1], #ARGV - 4
local held = redis.call('HMGET', KEYS[1], unpack(ARGV, 4))
if held[count + 1] and string.find(held[count + 1], attempt, 1, true) then return {0, now} end
local monthStart, monthEnd
local spent, exhausted = false, false
local writes = {0, 0, 0, 0, 0, 0, 0, 0}
local reply = {1, now, 0, 0, 0, 0, 0, 0}
local lasts, slot = 0, 0
for index = 1, count do
  local limit, ceiling, window = unpacked('<ddd', numbers, index * 24 - 7)
  local start, charged, total = 0, 0, 0
  if held[index] then start, charged, total = unpacked('<ddd', held[index]) end
  if window == 0 then
    if not monthStart then
      monthStart, monthEnd = unpacked('<dd', numbers)
      if now < monthStart or now >= monthEnd then
        ${MONTH_IN_LUA}
        monthStart, monthEnd = month(now)
      end
    end
    if start < monthStart then
      start, charged, total = monthStart, 0, 0
      if monthEnd - now > lasts then lasts = monthEnd - now end
    end
  elseif now >= start + window then
    start, charged, total = now, 0, 0
    if window > lasts then lasts = window end
  end
  if charged >= limit then spent = true end
  if total >= ceiling then exhausted = true end
  if index == 1 then slot = total % 8 end
  writes[index * 2 - 1] = ARGV[index + 3]
  writes[index * 2] = packed('<ddd', start, charged + 1, total + 1)
  reply[index * 2 + 1] = charged + 1
  reply[index * 2 + 2] = start
end
local refused = spent and ARGV[2] == '1'
if refused or exhausted then
  local refusal = {0, now}
  for index = 1, count do
    local limit, ceiling = unpacked('<dd', numbers, index * 24 - 7)
    local start, charged, total = unpacked('<ddd', writes[index * 2])
    refusal[index * 3] = charged - 1
    refusal[index * 3 + 1] = total == 1 and 0 or start
    refusal[index * 3 + 2] = (total > ceiling or (refused and charged > limit)) and 1 or 0
  end
  return refusal
end
if count == 0 then return reply end
writes[count * 2 + 1] = '~' .. slot
writes[count * 2 + 2] = attempt .. now
redis.call('HSET', KEYS[1], unpack(writes, 1, count * 2 + 2))
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
    local at = tonumber(string.sub(note, #attempt + 1))
    for index = 2, #ARGV do
      local held = redis.call('HGET', KEYS[1], ARGV[index])
      if held then
        local start, used, admitted = struct.unpack('<ddd', held)
        -- A window that began later is not the one that was charged.
        if start <= at and used > 0 then
          redis.call('HSET', KEYS[1], ARGV[index], struct.pack('<ddd', start, used - 1, admitted))
        end
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
  readonly #ownName = uniqueToken()
  #named = 0
  #names: Names | undefined
  readonly #keys = new LRUCache<string, string>({ max: KEYS_REMEMBERED })
  #month: Month = { start: 0, end: 0 }
  #packed = new WeakMap<readonly Quota[], ReadonlyArray<Buffer | string>>()
  readonly #owed = new Map<string, { readonly key: string; readonly fields: readonly string[] }>()

  constructor(connection: RedisConnection, naming: Naming, clock: Clock, longestTakeMs = LONGEST_TAKE_MS) {
    this.#connection = connection
    this.#clock = clock
    this.#naming = naming
    this.#timeoutMs = Math.min(connection.readTimeoutMs, longestTakeMs)
  }

  attempt(kind: CallerKind, id: string, quotas: readonly Quota[], mayRefuse: boolean): Attempt {
    const name = this.#nextName()
    let key: string | undefined
    const take = (): Promise<Taken> => {
      const at = this.#keyOf(kind, id)
      key = at
      const args = [name, mayRefuse ? '1' : '0', ...this.#argumentsOf(quotas)]
      return this.#connection.run(TAKE, [at], args, this.#timeoutMs).then((reply) => {
        if (this.#owed.size > 0) this.#payBack()
        return new TakenInRedis(this.#connection, at, quotas, reply as number[])
      })
    }
    return {
      // Names are there once Redis was reached.
      taken: this.#connection.isUp ? take() : this.#connection.reach(this.#timeoutMs).then(take),
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
      key = this.#connection.prefix + REDIS_KEYS.guardCounts[0].replace('<caller>', names.of(`guard ${kind}`, id))
      this.#keys.set(caller, key)
    }
    return key
  }

  /** What a rule's limits are in the script: packed once, and again when a month begins. */
  #argumentsOf(quotas: readonly Quota[]): ReadonlyArray<Buffer | string> {
    const now = this.#clock.now()
    if (now < this.#month.start || now >= this.#month.end) {
      this.#month = monthOf(now)
      this.#packed = new WeakMap()
    }
    let known = this.#packed.get(quotas)
    if (!known) {
      const { start, end } = this.#month
      const numbers = quotas.flatMap(({ limit, ceiling, windowMs }) => [
        limit,
        ceiling,
        windowMs === 'month' ? 0 : windowMs,
      ])
      known = [packDoubles([start, end, ...numbers]), ...quotas.map(({ counter }) => counter), '~undone']
      this.#packed.set(quotas, known)
    }
    return known
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

/** As Lua's struct reads them with `<d`. */
function packDoubles(numbers: readonly number[]): Buffer {
  const packed = Buffer.alloc(numbers.length * 8)
  for (const [index, number] of numbers.entries()) packed.writeDoubleLE(number, index * 8)
  return packed
}

class TakenInRedis implements Taken {
  readonly admitted: boolean
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #quotas: readonly Quota[]
  /** Whether all were taken, Redis's time, then for each limit: charged, begun, and in a refusal whether it refuses. */
  readonly #reply: readonly number[]
  /** How many numbers of the reply belong to one limit. */
  readonly #stride: 2 | 3
  #counts: readonly Count[] | undefined

  constructor(connection: RedisConnection, key: string, quotas: readonly Quota[], reply: readonly number[]) {
    this.#connection = connection
    this.#key = key
    this.#quotas = quotas
    this.#reply = reply
    this.admitted = reply[0] === 1
    this.#stride = this.admitted ? 2 : 3
  }

  get counts(): readonly Count[] {
    this.#counts ??= this.#quotas.map(({ windowMs }, index) => {
      const now = this.#reply[1]!
      const [used, start, refuses] = this.#reply.slice(2 + index * this.#stride, 2 + (index + 1) * this.#stride) as [
        number,
        number,
        number?,
      ]
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
      this.#reply[3 + index * this.#stride]!,
    ])
    try {
      return Number(await this.#connection.run(REFUND, [this.#key], args)) > 0
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'REDIS_UNAVAILABLE') return false
      throw error
    }
  }
}
