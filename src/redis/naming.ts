import { HoldfastError } from '../errors/errors.ts'
import type { Logger } from '../events/events.ts'
import { fingerprint, type KeyRing, Names } from '../secrets/key-ring.ts'
import type { Backplane } from './backplane.ts'
import type { Redis } from './commands.ts'
import type { ConnectionHooks, RedisConnection } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
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
export class Naming implements ConnectionHooks {
  readonly #connection: RedisConnection
  readonly #ring: KeyRing
  readonly #backplane: Backplane
  readonly #logger: Logger | undefined
  readonly #key: string
  #namingKey: string | undefined
  #names: Names | undefined
  /** Whether it was said that nobody shares our secret. */
  #isAlone = false
  #settling: Promise<void> = Promise.resolve()

  constructor(connection: RedisConnection, ring: KeyRing, backplane: Backplane, logger: Logger | undefined) {
    this.#connection = connection
    this.#ring = ring
    this.#backplane = backplane
    this.#logger = logger
    this.#key = connection.prefix + REDIS_KEYS.namingKey[0]
    // After a flush, a new process may have put another key there than the one we still use.
    backplane.on('names', ([name]) => {
      if (this.#namingKey !== undefined && name !== fingerprint(this.#namingKey)) connection.renew()
    })
  }

  /** Throws HoldfastError REDIS_UNAVAILABLE while Redis has never been reached. */
  get names(): Names {
    if (this.#names) return this.#names
    throw new HoldfastError('REDIS_UNAVAILABLE', 'Redis cannot be used: it has not been reached yet')
  }

  beforeReady(redis: Redis): Promise<void> {
    this.#settling = this.#settle(redis)
    return this.#settling
  }

  /** Resolves when the names of the connection that is being made are known; rejects where they cannot be. */
  settled(): Promise<void> {
    return this.#settling
  }

  /** An evicting Redis takes what nobody looks at; without this key every name would change with the next process. */
  async upkeep(redis: Redis): Promise<void> {
    const names = this.#names
    await this.#settle(redis)
    // What was kept or invalidated under the old ones has to be looked at under the new.
    if (this.#names !== names) this.#connection.renew()
  }

  async #settle(redis: Redis): Promise<void> {
    const [held] = await redis.read([this.#key])
    let sealed = held?.toString('latin1') ?? ''
    let namingKey = this.#open(sealed)
    if (sealed === '' || (namingKey !== undefined && !this.#ring.isCurrent(Buffer.from(sealed, 'base64')))) {
      const own = namingKey ?? this.#namingKey ?? this.#ring.namingKey()
      sealed = String(await redis.run(KEEP, [this.#key], [sealed, this.#ring.seal(own, this.#key).toString('base64')]))
      namingKey = this.#open(sealed)
    }
    if (namingKey === undefined) namingKey = this.#alone()
    if (namingKey === this.#namingKey) return
    this.#namingKey = namingKey
    this.#names = new Names(namingKey)
    // The others look whether it is theirs. Nobody has to wait for that.
    redis.publish(...this.#backplane.message(['names', fingerprint(namingKey)])).catch(() => {})
  }

  #alone(): string {
    if (this.#isAlone) return this.#namingKey!
    this.#isAlone = true
    this.#logger?.warn(
      { key: this.#key },
      'the processes on this Redis do not share a secret, so they share nothing else; give all the same HOLDFAST_SECRET',
    )
    return this.#ring.namingKey()
  }

  #open(sealed: string): string | undefined {
    return this.#ring.open(Buffer.from(sealed, 'base64'), this.#key)
  }
}
