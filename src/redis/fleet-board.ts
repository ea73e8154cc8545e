import type { Fleet, FleetNews, InvalidRequests, Notice } from '../discord/fleet.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Backplane } from './backplane.ts'
import type { Redis } from './commands.ts'
import type { ConnectionHooks, RedisConnection } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
import { defineScript } from './script.ts'

/** How many notices are kept for processes that come later; the ones that end first go first. */
const NOTICES = 10_000
/** What could not be said because Redis was away, and is said when it is back. */
const UNSAID = 1_000
/** For how long invalid requests count, in steps of what length. */
const WINDOW_MS: Milliseconds = 10 * 60 * 1000
const SLOT_MS: Milliseconds = 10_000
/** By so much a message can come later than totals that were read after it was sent. */
const OVERTAKEN_MS: Milliseconds = 10_000
/** Nothing is kept on the board for longer, whatever times somebody wrote there. */
const LONGEST_MS: Milliseconds = 8 * 24 * 60 * 60 * 1000

/** Something else under our key is nobody's. */
const expectType = (type: 'zset' | 'hash') =>
  `if redis.call('TYPE', KEYS[1]).ok ~= '${type}' then redis.call('DEL', KEYS[1]) end
`

/** Key: board. Arguments: how long the notice holds, the notice, how many are kept, channel, how long the board is kept. */
const ANNOUNCE = defineScript(
  'announce',
  `${expectType('zset')}local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PUBLISH', ARGV[4], '0000000000000000' .. ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(last[2], now + ARGV[5])))
return 1`,
)

/** Key: board. Argument: how many. Returns each notice with how long it still holds. */
const BOARD = defineScript(
  'board',
  `${expectType('zset')}local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for i = 2, #held, 2 do held[i] = string.format('%.0f', held[i] - now) end
return held`,
)

/** Key: counts. Arguments: all, strangers, length of a slot, slots kept, channel, message, how many slots ago. What cannot be counted was told all the same. */
const INVALID = defineScript(
  'invalid',
  `${expectType('hash')}local time = redis.call('TIME')
redis.call('PUBLISH', ARGV[5], string.format('%016.0f', time[1] * 1000000 + time[2]) .. ARGV[6])
local newest = math.floor(time[1] * 1000 / ARGV[3])
local function count(kind, by)
  local field = (newest - ARGV[7]) .. kind
  local counted = redis.pcall('HINCRBY', KEYS[1], field, by)
  if type(counted) == 'table' then redis.pcall('HSET', KEYS[1], field, by) end
end
count(':all', ARGV[1])
count(':strangers', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * ARGV[4])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local slot = tonumber(string.match(field, '^(%d+):'))
  if not slot or slot <= newest - ARGV[4] or slot > newest then redis.call('HDEL', KEYS[1], field) end
end
return 1`,
)

/** Key: counts. Argument: length of a slot. Returns the slot that it is now, the time in microseconds, then fields and values. */
const COUNTS = defineScript(
  'counts',
  `${expectType('hash')}local counts = redis.call('HGETALL', KEYS[1])
local time = redis.call('TIME')
table.insert(counts, 1, tostring(math.floor(time[1] * 1000 / ARGV[1])))
table.insert(counts, 2, string.format('%.0f', time[1] * 1000000 + time[2]))
return counts`,
)

const SLOTS_KEPT = WINDOW_MS / SLOT_MS + 1

/** Invalid requests of one slot's length from `at` on. */
interface Counted {
  readonly at: Milliseconds
  all: number
  strangers: number
}

/** What processes tell each other about Discord: said over the backplane, and kept on a board for those who come later. */
export class FleetBoard implements Fleet, ConnectionHooks {
  readonly #connection: RedisConnection
  readonly #backplane: Backplane
  readonly #clock: Clock
  readonly #board: string
  readonly #counts: string
  #listener: FleetNews | undefined
  #unsaid: Array<{ readonly notice: Notice; readonly until: Milliseconds }> = []
  /** The oldest first, of one slot's length each. */
  #unsaidInvalid: Counted[] = []
  /** When the fleet's totals were read: on Redis's clock, and on ours. */
  #totalsAt: { readonly micros: number; readonly at: Milliseconds } | undefined

  constructor(connection: RedisConnection, backplane: Backplane, clock: Clock) {
    this.#connection = connection
    this.#backplane = backplane
    this.#clock = clock
    this.#board = connection.prefix + REDIS_KEYS.notices[0]
    this.#counts = connection.prefix + REDIS_KEYS.invalidRequests[0]
    backplane.on('notice', ([notice, forMs]) => this.#listener?.noticed(JSON.parse(String(notice)), Number(forMs)))
    backplane.on('egress-free', ([sentAgoMs, route]) =>
      this.#listener?.egressFree(Number(sentAgoMs), String(route ?? '')),
    )
    backplane.on('invalid', ([count, strangers, agoMs], atMicros) => {
      if (this.#isInTotals(atMicros)) return
      this.#listener?.invalidSent({ agoMs: Number(agoMs), count: Number(count), strangers: Number(strangers) })
    })
  }

  listen(news: FleetNews): void {
    this.#listener = news
  }

  announce(notice: Notice, forMs: Milliseconds): void {
    this.#announceUntil(notice, this.#clock.monotonic() + forMs)
  }

  announceEgressFree(sentAgoMs: Milliseconds, route: string): void {
    // Who does not hear it finds out with a probe of its own.
    this.#connection.publish(...this.#backplane.message(['egress-free', sentAgoMs, route])).catch(() => {})
  }

  invalidSent(stranger: boolean): void {
    this.#countInvalid({ at: this.#clock.monotonic(), all: 1, strangers: stranger ? 1 : 0 })
  }

  async beforeReady(redis: Redis): Promise<void> {
    const now = this.#clock.monotonic()
    for (let requests = this.#unsaidInvalid.shift(); requests; requests = this.#unsaidInvalid.shift()) {
      try {
        if (now - requests.at < WINDOW_MS) await this.#sayInvalid(redis, requests)
      } catch (error) {
        this.#unsaidInvalid.unshift(requests)
        throw error
      }
    }
    const unsaid = this.#unsaid.filter(({ until }) => until > now)
    await Promise.all(unsaid.map(({ notice, until }) => this.#announce(redis, notice, until - now)))
    this.#unsaid = this.#unsaid.filter((one) => one.until > now && !unsaid.includes(one))
    const [board, totals] = await Promise.all([redis.run(BOARD, [this.#board], [NOTICES]), this.#totals(redis)])
    const held = board as string[]
    this.#backplane.deliver(
      Array.from({ length: held.length / 2 }, (_, at) => [held[at * 2]!, Number(held[at * 2 + 1])]),
    )
    this.#listener?.invalidTotals(totals)
  }

  /** What came up while the hooks ran. */
  onReady(): void {
    for (const { notice, until } of this.#unsaid.splice(0)) this.#announceUntil(notice, until)
    for (const requests of this.#unsaidInvalid.splice(0)) this.#countInvalid(requests)
  }

  #announceUntil(notice: Notice, until: Milliseconds): void {
    const forMs = until - this.#clock.monotonic()
    if (forMs <= 0) return
    this.#announce(this.#connection, notice, forMs).catch(() => {
      if (this.#unsaid.length < UNSAID) this.#unsaid.push({ notice, until })
    })
  }

  #announce(redis: Redis, notice: Notice, forMs: Milliseconds): Promise<unknown> {
    const message = this.#backplane.sealed(['notice', JSON.stringify(notice), Math.ceil(forMs)])
    const args = [Math.ceil(forMs), message, NOTICES, this.#backplane.channel, LONGEST_MS]
    return redis.run(ANNOUNCE, [this.#board], args)
  }

  #countInvalid(requests: Counted): void {
    this.#sayInvalid(this.#connection, requests).catch(() => {
      const newest = this.#unsaidInvalid.at(-1)
      if (newest && requests.at - newest.at < SLOT_MS) {
        newest.all += requests.all
        newest.strangers += requests.strangers
      } else this.#unsaidInvalid.push({ ...requests })
      // Those that count no more are nobody's concern, however long Redis is away.
      if (this.#unsaidInvalid.length > SLOTS_KEPT) this.#unsaidInvalid.shift()
    })
  }

  #sayInvalid(redis: Redis, { at, all, strangers }: Counted): Promise<unknown> {
    const agoMs = Math.max(0, this.#clock.monotonic() - at)
    const message = this.#backplane.sealed(['invalid', all, strangers, Math.round(agoMs)])
    const args = [all, strangers, SLOT_MS, SLOTS_KEPT, this.#backplane.channel, message, Math.floor(agoMs / SLOT_MS)]
    return redis.run(INVALID, [this.#counts], args)
  }

  /**
   * Whether a message tells of requests that the totals held when they were read: it comes over another socket, and can
   * come after them. Asked for moments only, so that a Redis whose clock is set back is believed soon after.
   */
  #isInTotals(atMicros: number): boolean {
    const read = this.#totalsAt
    // Without a time it is from a process of an earlier version.
    if (!read || !(atMicros > 0)) return false
    return atMicros <= read.micros && this.#clock.monotonic() - read.at < OVERTAKEN_MS
  }

  async #totals(redis: Redis): Promise<InvalidRequests[]> {
    const [slotNow, micros, ...fields] = (await redis.run(COUNTS, [this.#counts], [SLOT_MS])) as string[]
    this.#totalsAt = { micros: Number(micros), at: this.#clock.monotonic() }
    const byAge = new Map<Milliseconds, { count: number; strangers: number }>()
    for (let at = 0; at + 1 < fields.length; at += 2) {
      const [slot, kind] = fields[at]!.split(':')
      const agoMs = (Number(slotNow) - Number(slot)) * SLOT_MS
      const count = Number(fields[at + 1])
      // These stand there in clear, and anybody may have written them.
      if (!(agoMs >= 0 && agoMs <= WINDOW_MS) || !Number.isSafeInteger(count) || count < 0) continue
      const counts = byAge.get(agoMs) ?? { count: 0, strangers: 0 }
      counts[kind === 'all' ? 'count' : 'strangers'] += count
      byAge.set(agoMs, counts)
    }
    return [...byAge].map(([agoMs, counts]) => ({ agoMs, ...counts }))
  }
}
