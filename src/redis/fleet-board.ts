import type { Clock, Milliseconds } from '../clock.ts'
import type { Fleet, FleetNews, InvalidRequests, Notice } from '../discord/fleet.ts'
import type { Redis, RedisConnection, Resident } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
import type { News } from './news.ts'
import { defineScript } from './script.ts'

/** How many notices are kept for processes that come later; the ones that end first go first. */
const NOTICES = 10_000
/** What could not be said because Redis was away, and is said when it is back. */
const UNSAID = 1_000
/** A dead token is dead for good; this long it is worth telling newcomers. */
const WINDOW_MS: Milliseconds = 10 * 60 * 1000
const SLOT_MS: Milliseconds = 10_000

/** Key: board. Arguments: how long the notice holds, the notice, how many are kept, channel. */
const ANNOUNCE = defineScript(
  'announce',
  `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PUBLISH', ARGV[4], '0000000000000000' .. ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last[2]))
return 1`,
)

/** Key: board. Argument: how many. Returns each notice with how long it still holds. */
const BOARD = defineScript(
  'board',
  `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for i = 2, #held, 2 do held[i] = string.format('%.0f', held[i] - now) end
return held`,
)

/** Key: counts. Arguments: all, strangers, length of a slot, slots kept, channel, message. */
const INVALID = defineScript(
  'invalid',
  `redis.call('PUBLISH', ARGV[5], '0000000000000000' .. ARGV[6])
local slot = math.floor(redis.call('TIME')[1] * 1000 / ARGV[3])
redis.call('HINCRBY', KEYS[1], slot .. ':all', ARGV[1])
redis.call('HINCRBY', KEYS[1], slot .. ':strangers', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * ARGV[4])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if tonumber(string.match(field, '^%d+')) <= slot - ARGV[4] then redis.call('HDEL', KEYS[1], field) end
end
return 1`,
)

/** Key: counts. Argument: length of a slot. Returns the slot that it is now, then fields and values. */
const COUNTS = defineScript(
  'counts',
  `local counts = redis.call('HGETALL', KEYS[1])
table.insert(counts, 1, tostring(math.floor(redis.call('TIME')[1] * 1000 / ARGV[1])))
return counts`,
)

const SLOTS_KEPT = WINDOW_MS / SLOT_MS + 1

/** What processes tell each other about Discord: said over the news, and kept on a board for those who come later. */
export class FleetBoard implements Fleet, Resident {
  readonly #connection: RedisConnection
  readonly #news: News
  readonly #clock: Clock
  readonly #board: string
  readonly #counts: string
  #listener: FleetNews | undefined
  #unsaid: Array<{ readonly notice: Notice; readonly until: Milliseconds }> = []
  #unsaidInvalid = { all: 0, strangers: 0 }

  constructor(connection: RedisConnection, news: News, clock: Clock) {
    this.#connection = connection
    this.#news = news
    this.#clock = clock
    this.#board = connection.prefix + REDIS_KEYS.notices[0]
    this.#counts = connection.prefix + REDIS_KEYS.invalidRequests[0]
    news.on('notice', ([notice, forMs]) => this.#listener?.noticed(JSON.parse(String(notice)), Number(forMs)))
    news.on('egress-free', () => this.#listener?.egressFree())
    news.on('invalid', ([count, strangers]) =>
      this.#listener?.invalidSent({ agoMs: 0, count: Number(count), strangers: Number(strangers) }),
    )
  }

  listen(news: FleetNews): void {
    this.#listener = news
  }

  announce(notice: Notice, forMs: Milliseconds): void {
    const until = this.#clock.monotonic() + forMs
    this.#announce(this.#connection, notice, forMs).catch(() => {
      if (this.#unsaid.length < UNSAID) this.#unsaid.push({ notice, until })
    })
  }

  announceEgressFree(): void {
    // Who does not hear it finds out with a probe of its own.
    this.#connection.publish(...this.#news.message(['egress-free'])).catch(() => {})
  }

  invalidSent(stranger: boolean): void {
    this.#invalidSent(this.#connection, 1, stranger ? 1 : 0).catch(() => {
      this.#unsaidInvalid.all++
      if (stranger) this.#unsaidInvalid.strangers++
    })
  }

  async returned(redis: Redis): Promise<void> {
    const { all, strangers } = this.#unsaidInvalid
    if (all > 0) await this.#invalidSent(redis, all, strangers)
    this.#unsaidInvalid = { all: 0, strangers: 0 }
    const now = this.#clock.monotonic()
    const unsaid = this.#unsaid.filter(({ until }) => until > now)
    await Promise.all(unsaid.map(({ notice, until }) => this.#announce(redis, notice, until - now)))
    this.#unsaid = []
    const held = (await redis.run(BOARD, [this.#board], [NOTICES])) as string[]
    for (let at = 0; at + 1 < held.length; at += 2) this.#news.deliver(held[at]!, Number(held[at + 1]))
    this.#listener?.invalidTotals(await this.#totals(redis))
  }

  #announce(redis: Redis, notice: Notice, forMs: Milliseconds): Promise<unknown> {
    const message = this.#news.sealed(['notice', JSON.stringify(notice), Math.ceil(forMs)])
    return redis.run(ANNOUNCE, [this.#board], [Math.ceil(forMs), message, NOTICES, this.#news.channel])
  }

  #invalidSent(redis: Redis, all: number, strangers: number): Promise<unknown> {
    const message = this.#news.sealed(['invalid', all, strangers])
    return redis.run(INVALID, [this.#counts], [all, strangers, SLOT_MS, SLOTS_KEPT, this.#news.channel, message])
  }

  async #totals(redis: Redis): Promise<InvalidRequests[]> {
    const [slotNow, ...fields] = (await redis.run(COUNTS, [this.#counts], [SLOT_MS])) as string[]
    const bySlot = new Map<number, { count: number; strangers: number }>()
    for (let at = 0; at + 1 < fields.length; at += 2) {
      const [slot, kind] = fields[at]!.split(':')
      const counts = bySlot.get(Number(slot)) ?? { count: 0, strangers: 0 }
      counts[kind === 'all' ? 'count' : 'strangers'] += Number(fields[at + 1])
      bySlot.set(Number(slot), counts)
    }
    return [...bySlot].map(([slot, counts]) => ({ agoMs: (Number(slotNow) - slot) * SLOT_MS, ...counts }))
  }
}
