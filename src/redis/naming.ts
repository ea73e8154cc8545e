import { HoldfastError } from '../errors/errors.ts'
import type { Logger } from '../events/events.ts'
import { fingerprint, type KeyRing, Names } from '../secrets/key-ring.ts'
import type { Redis, RedisConnection, Resident } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
import type { News } from './news.ts'
import { defineScript } from './script.ts'

/** Keeps what is there, unless it is what the caller has just read and wants to replace, or no text at all. */
const KEEP = defineScript(
  'keep-naming-key',
  `local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' then held = false end
if held and held ~= ARGV[1] then return held end
local wrote = redis.pcall('SET', KEYS[1], ARGV[2])
if type(wrote) == 'table' and wrote.err then return held or ARGV[2] end
return ARGV[2]`,
)

/**
 * The names that users and keys have in Redis. The key behind them is kept there, sealed, so that all processes use the
 * same one, and it does not change when the secret rotates.
 */
export class Naming implements Resident {
  readonly #ring: KeyRing
  readonly #news: News
  readonly #logger: Logger | undefined
  readonly #key: string
  #namingKey: string | undefined
  #names: Names | undefined

  constructor(connection: RedisConnection, ring: KeyRing, news: News, logger: Logger | undefined) {
    this.#ring = ring
    this.#news = news
    this.#logger = logger
    this.#key = connection.prefix + REDIS_KEYS.namingKey[0]
    // After a flush, a new process may have put another key there than the one we still use.
    news.on('names', ([name]) => {
      if (this.#namingKey !== undefined && name !== fingerprint(this.#namingKey)) connection.renew()
    })
  }

  /** Throws HoldfastError REDIS_UNAVAILABLE while Redis has never been reached. */
  get names(): Names {
    if (this.#names) return this.#names
    throw new HoldfastError('REDIS_UNAVAILABLE', 'Redis cannot be used: it has not been reached yet')
  }

  async returned(redis: Redis): Promise<void> {
    const [held] = await redis.read([this.#key])
    let sealed = held?.toString('latin1') ?? ''
    let namingKey = this.#open(sealed)
    if (sealed === '' || (namingKey !== undefined && !this.#ring.isCurrent(Buffer.from(sealed, 'base64')))) {
      const own = namingKey ?? this.#namingKey ?? this.#ring.namingKey()
      sealed = String(await redis.run(KEEP, [this.#key], [sealed, this.#ring.seal(own, this.#key).toString('base64')]))
      namingKey = this.#open(sealed)
    }
    if (namingKey === undefined) {
      this.#logger?.warn(
        { key: this.#key },
        'the processes on this Redis do not share a secret, so they share nothing else; give all the same HOLDFAST_SECRET',
      )
      namingKey = this.#ring.namingKey()
    }
    if (namingKey !== this.#namingKey) {
      this.#namingKey = namingKey
      this.#names = new Names(namingKey)
    }
    await redis.publish(...this.#news.message(['names', fingerprint(namingKey)]))
  }

  #open(sealed: string): string | undefined {
    return this.#ring.open(Buffer.from(sealed, 'base64'), this.#key)
  }
}
