import type { RedisConfig } from '../config/redis.ts'
import { DISCORD_API } from '../config/settings.ts'
import type { Events, Logger } from '../events/events.ts'
import { fingerprint, KeyRing } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { Backplane } from './backplane.ts'
import { RedisConnection } from './connection.ts'
import { Entries } from './entries.ts'
import { FleetBoard } from './fleet-board.ts'
import { Naming } from './naming.ts'

/** Of everything that is written here. What another layout wrote is not even looked at. */
const LAYOUT = 1

export interface RedisRoom {
  readonly connection: RedisConnection
  readonly naming: Naming
  readonly entries: Entries
  readonly fleet: FleetBoard
}

/** Everything that lives in Redis. Nothing is opened before `connection.start()`. */
export function openRedis(options: {
  readonly config: RedisConfig
  readonly secrets: readonly string[]
  readonly clientId: string | undefined
  readonly baseUrl: URL
  readonly staleMs: Milliseconds
  readonly loadTimeoutMs: Milliseconds
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly logger: Logger | undefined
}): RedisRoom {
  const { clock, events, logger } = options
  const ring = new KeyRing(options.secrets)
  const connection = new RedisConnection({ ...options, prefix: keyPrefix(options) })
  const backplane = new Backplane(connection, ring, clock)
  const naming = new Naming(connection, ring, backplane, logger)
  const fleet = new FleetBoard(connection, backplane, clock)
  const entries = new Entries({
    ...options,
    compress: options.config.compress !== false,
    connection,
    naming,
    backplane,
    ring,
    events,
  })
  for (const hooks of [naming, fleet, entries]) connection.register(hooks)
  return { connection, naming, entries, fleet }
}

/** Redis for a store of its own: a connection, and the names of who is counted there. */
export function openRedisNames(options: {
  readonly config: RedisConfig
  readonly secrets: readonly string[]
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly logger?: Logger | undefined
}): Pick<RedisRoom, 'connection' | 'naming'> {
  const ring = new KeyRing(options.secrets)
  const prefix = keyPrefix({ config: options.config, clientId: undefined, baseUrl: new URL(DISCORD_API) })
  const connection = new RedisConnection({ ...options, prefix })
  const naming = new Naming(connection, ring, new Backplane(connection, ring, options.clock), options.logger)
  connection.register(naming)
  return { connection, naming }
}

/** What every key begins with: `holdfast:1:<namespace>:<application>:`, and where Discord is, if it is somewhere else. */
export function keyPrefix({
  config,
  clientId,
  baseUrl,
}: {
  readonly config: RedisConfig
  readonly clientId: string | undefined
  readonly baseUrl: URL
}): string {
  const elsewhere = baseUrl.href.replace(/\/$/, '') === DISCORD_API ? '' : `@${fingerprint(baseUrl.href).slice(0, 8)}`
  return `holdfast:${LAYOUT}:${config.namespace}:${clientId ?? 'app'}${elsewhere}:`
}
