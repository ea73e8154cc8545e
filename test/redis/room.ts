import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@keyv/redis'
import { inject } from 'vitest'
import type { RedisCredentials } from '../../src/config/redis.ts'
import { DISCORD_API } from '../../src/config/settings.ts'
import { Events, type HoldfastEvent } from '../../src/events/events.ts'
import { openRedis } from '../../src/redis/redis.ts'
import { type Clock, systemClock } from '../../src/time/clock.ts'

/** The Redis that all tests share: each uses a namespace of its own. */
export const REDIS_URL = inject('redisUrl')
/** Whether tests may start servers of their own. */
export const SERVERS = inject('redisServers')

export const SECRET = 'a-secret-of-thirty-two-bytes-or-more-for-tests'
export const OTHER_SECRET = 'another-secret-of-thirty-two-bytes-or-more'

export const freshNamespace = () => `t-${randomUUID()}`

export interface RoomOptions {
  readonly url?: string | undefined
  readonly urls?: readonly string[]
  readonly cluster?: boolean
  readonly namespace?: string
  readonly secrets?: readonly string[]
  readonly readTimeoutMs?: number
  readonly writeTimeoutMs?: number
  readonly staleMs?: number
  readonly loadTimeoutMs?: number
  readonly random?: () => number
  readonly clock?: Clock
  readonly tls?: object
  readonly credentials?: () => Promise<RedisCredentials>
  readonly compress?: boolean
}

/** The Redis room as one process has it, with everything that it says. Its time-outs are longer than in production: the machine is busy. */
export function openRoom({
  url = REDIS_URL,
  urls = [url!],
  cluster = false,
  namespace = freshNamespace(),
  secrets = [SECRET],
  readTimeoutMs = 1_000,
  writeTimeoutMs = 2_000,
  staleMs = 600_000,
  loadTimeoutMs = 10_000,
  random = Math.random,
  clock = systemClock,
  tls,
  credentials,
  compress = true,
}: RoomOptions = {}) {
  const events = new Events(clock)
  const seen: HoldfastEvent[] = []
  events.on((event) => seen.push(event))
  const lines: Array<{ level: string; details: object; text: string }> = []
  const line = (level: string) => (details: object, text: string) => void lines.push({ level, details, text })
  const room = openRedis({
    config: { urls, cluster, namespace, readTimeoutMs, writeTimeoutMs, tls, credentials, compress },
    secrets,
    clientId: undefined,
    baseUrl: new URL(DISCORD_API),
    staleMs,
    loadTimeoutMs,
    clock,
    random,
    events,
    logger: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
  })
  return {
    ...room,
    events,
    seen,
    lines,
    namespace,
    /** The states that its breaker went through. */
    states: () => seen.flatMap((event) => (event.type === 'breaker' ? [event.state] : [])),
    /** What it was unable to do. */
    failures: () =>
      seen.flatMap((event) => (event.type === 'redis.failed' ? [`${event.operation} ${event.code}`] : [])),
    async up(withinMs = 15_000) {
      room.connection.start()
      await until(() => room.connection.isUp, withinMs, 'Redis to be up')
      return this
    },
    async away(withinMs = 15_000) {
      await until(() => !room.connection.isUp, withinMs, 'Redis to be away')
      return this
    },
    [Symbol.dispose]: () => room.connection.close(),
  }
}

export type Room = ReturnType<typeof openRoom>

/** Several processes of one fleet, all up. */
export async function openFleet(count: number, options: RoomOptions = {}): Promise<Room[]> {
  const namespace = options.namespace ?? freshNamespace()
  return Promise.all(Array.from({ length: count }, () => openRoom({ ...options, namespace }).up()))
}

/** A client beside Holdfast, for looking and for tampering. */
export async function beside(url = REDIS_URL!) {
  const client = createClient({ url, socket: { reconnectStrategy: false } })
  // Tests kill servers under it.
  client.on('error', () => {})
  await client.connect()
  return Object.assign(client, { [Symbol.dispose]: () => client.isOpen && client.destroy() })
}

export async function until(holds: () => boolean | Promise<boolean>, withinMs: number, what: string): Promise<void> {
  const endsAt = performance.now() + withinMs
  while (!(await holds())) {
    if (performance.now() > endsAt) throw new Error(`waited ${withinMs} ms in vain for ${what}`)
    await sleep(2)
  }
}

export interface Timed<T> {
  readonly ms: number
  /** Turns of the event loop that it took: what happens at once takes few, however busy the machine is. */
  readonly turns: number
  readonly value?: T
  readonly code?: string
}

/** How long something took, and what came of it. */
export async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const began = performance.now()
  let turns = 0
  let timer = setImmediate(function count() {
    turns++
    timer = setImmediate(count)
  })
  try {
    const value = await work()
    return { ms: performance.now() - began, turns, value }
  } catch (error) {
    return { ms: performance.now() - began, turns, code: (error as { code?: string }).code ?? String(error) }
  } finally {
    clearImmediate(timer)
  }
}

/** Keeps the event loop from turning. */
export function stall(ms: number): void {
  const endsAt = performance.now() + ms
  while (performance.now() < endsAt);
}
