import { LRUCache } from 'lru-cache'
import { HoldfastError } from '../errors/errors.ts'
import type { Attempt, CallerKind, Count, CounterStore, Taken } from '../guard/counters.ts'
import type { Quota } from '../guard/rules.ts'
import { type Names, uniqueToken } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { type Month, monthOf } from '../time/month.ts'
import type { RedisConnection } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
import type { Naming } from './naming.ts'
import { defineScript, type Script } from './script.ts'
import { MONTH_IN_LUA, NOW_IN_LUA, takeScript } from './take-script.ts'

/** A decision is never later than this, whatever Redis does. */
const LONGEST_TAKE_MS: Milliseconds = 100
/** Undoings that wait for Redis to be back; of more, the oldest are forgotten, and their requests stay counted. */
const MOST_OWED = 1_000

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
  #scripts = new WeakMap<readonly Quota[], Script>()
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
      const args = [name, mayRefuse ? '1' : '0']
      return this.#connection.run(this.#scriptOf(quotas), [at], args, this.#timeoutMs).then((reply) => {
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

  /** The script of a rule's limits: written once, and again when a month begins. */
  #scriptOf(quotas: readonly Quota[]): Script {
    const now = this.#clock.now()
    if (now < this.#month.start || now >= this.#month.end) {
      this.#month = monthOf(now)
      this.#scripts = new WeakMap()
    }
    let script = this.#scripts.get(quotas)
    if (!script) {
      script = takeScript(quotas, this.#month)
      this.#scripts.set(quotas, script)
    }
    return script
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
