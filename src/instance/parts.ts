import type { DatabaseConfig } from '../config/database.ts'
import type { Database } from '../database/database.ts'
import { ConfigError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import type { RedisRoom } from '../redis/redis.ts'
import type { SessionResolver } from '../sessions/session.ts'
import type { Clock } from '../time/clock.ts'
import type { KnownUser } from './known-user.ts'
import { processWideSymbol } from './process-wide.ts'

/** What an instance shares with what is made beside it: a guard, a quota, a vault. */
export interface InstanceParts {
  readonly clock: Clock
  readonly events: Events
  readonly logger: Logger | undefined
  /** The newest first; empty where the instance has none. */
  readonly secrets: readonly string[]
  readonly database: DatabaseConfig | undefined
  /** The database that all rooms of the instance share; undefined where none is configured. */
  readonly openDatabase: (() => Promise<Database>) | undefined
  /** The session resolver that was given; undefined where sessions are those of login and bearer tokens. */
  readonly session: SessionResolver | undefined
  /** Who is asking, as far as this process knows without asking Discord. */
  readonly knownUser: KnownUser
  /** What the instance opened of Redis; undefined without Redis. */
  readonly redis: RedisRoom | undefined
}

/** Shared, so that an instance of another copy of the package is known too. */
const PARTS = processWideSymbol('parts')

export function keepParts(instance: object, parts: InstanceParts): void {
  Object.defineProperty(instance, PARTS, { value: parts })
}

/** The parts of what `createHoldfast` returned; undefined without an instance. Throws ConfigError for anything else. */
export function partsOf(instance: object | undefined): InstanceParts | undefined {
  if (instance === undefined) return undefined
  const parts = (instance as { [key: symbol]: InstanceParts | undefined } | null)?.[PARTS]
  if (!parts) throw new ConfigError('holdfast', 'option holdfast must be what createHoldfast() returned')
  return parts
}
