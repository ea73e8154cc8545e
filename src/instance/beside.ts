import { type RedisOptions, readRedis } from '../config/redis.ts'
import { readSecrets, secretNeeded } from '../config/secrets.ts'
import { Events, type Logger } from '../events/events.ts'
import { Log } from '../events/log.ts'
import { openRedisNames, type RedisRoom } from '../redis/redis.ts'
import { KeyRing, Names } from '../secrets/key-ring.ts'
import { type Clock, systemClock } from '../time/clock.ts'
import type { Holdfast } from './holdfast.ts'
import { type InstanceParts, partsOf } from './parts.ts'

/** The Redis of what stands beside the line. */
export interface RedisBeside extends Pick<RedisRoom, 'connection' | 'naming'> {
  /** Closes a connection of its own; that of an instance is the instance's to close. */
  close(): void
}

/**
 * What a guard, a quota or a vault shares with the instance it stands beside, or has of its own where there is none: one
 * way to find clock, logger, events, secrets, names and Redis, for all of them.
 */
export class Beside {
  readonly parts: InstanceParts | undefined
  readonly clock: Clock
  readonly logger: Logger | undefined
  /** The newest first; empty where none is configured. */
  readonly secrets: readonly string[]
  readonly events: Events

  /** Throws ConfigError where `holdfast` is no instance, and for secrets that cannot be used. */
  constructor(options: {
    readonly holdfast?: Holdfast | undefined
    readonly clock?: Clock | undefined
    readonly logger?: Logger | undefined
    readonly secret?: string | readonly string[] | undefined
  }) {
    this.parts = partsOf(options.holdfast)
    this.clock = options.clock ?? this.parts?.clock ?? systemClock
    this.logger = options.logger ?? this.parts?.logger
    const shared = this.parts?.secrets ?? []
    this.secrets = options.secret === undefined && shared.length > 0 ? shared : readSecrets(options.secret)
    this.events = this.parts?.events ?? new Events(this.clock, this.logger && new Log(this.logger, this.clock))
  }

  /**
   * The option's Redis, else the instance's, else that of REDIS_URL where there is no instance; undefined where none is
   * configured. Throws ConfigError for one that cannot be used, and for one of its own without a secret.
   */
  redis(option: string | RedisOptions | undefined): RedisBeside | undefined {
    if (this.parts && option === undefined) {
      const { redis } = this.parts
      return redis && { connection: redis.connection, naming: redis.naming, close: () => {} }
    }
    const config = readRedis(option)
    if (!config) return undefined
    if (this.secrets.length === 0) throw secretNeeded('Redis (REDIS_URL)')
    const { clock, events, logger, secrets } = this
    const { connection, naming } = openRedisNames({ config, secrets, clock, events, logger, random: Math.random })
    connection.start()
    return { connection, naming, close: () => connection.close() }
  }

  /** Names of callers and owners for events and memory: under the secret, or under a key that ends with the process. */
  names(): Names {
    return new Names((this.secrets.length > 0 ? new KeyRing(this.secrets) : KeyRing.ephemeral()).namingKey())
  }
}
