// The Redis of a chaos: one server, one that speaks TLS, or a Cluster; and what goes wrong with it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@keyv/redis'
import type { HoldfastOptions } from 'holdfast'
import { type Cluster, startCluster } from '../redis/cluster.ts'
import { startProxy } from '../redis/proxy.ts'
import { CERTIFICATE, KEY } from '../support/certificate.ts'
import { freePort, startRedisServer } from '../support/redis-server.ts'
import type { Step } from './plan.ts'

export const STAGES = ['tcp', 'tls', 'cluster'] as const
export type StageKind = (typeof STAGES)[number]
export type RedisStep = Extract<Step, { kind: `redis ${string}` }>

type Stretch = { from: number; to: number }
type RedisClient = Awaited<ReturnType<typeof beside>>

/** When Redis lost what it held, took no writes, or came back from a snapshot: what the rules have to know. */
export interface RedisTroubles {
  readonly emptied: Stretch[]
  readonly refusing: Stretch[]
  readonly restored: Stretch[]
}

export interface Stage extends AsyncDisposable {
  /** What the fleet is given. */
  readonly options: NonNullable<HoldfastOptions['redis']>
  readonly troubles: RedisTroubles
  /** Does one thing to it, and resolves when that is over. */
  perform(step: RedisStep, note: (text: string) => void): Promise<void>
  /** Ends what a step that was broken off may have left. */
  thaw(): void
}

export function openStage(kind: StageKind): Promise<Stage> {
  return kind === 'cluster' ? openClusterStage() : openServerStage(kind)
}

/** How long before and after a loss it may have taken what was just being said. */
const AROUND_MS = 500

async function openServerStage(kind: 'tcp' | 'tls'): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-chaos-'))
  const tlsPort = await freePort()
  const redis = await startRedisServer(['--dir', folder, ...(kind === 'tls' ? tlsArguments(folder, tlsPort) : [])])
  // Between the fleet and Redis: for what is far away.
  const way = await startProxy(kind === 'tls' ? tlsPort : redis.port)
  const recording = recordMessages(redis.port)
  const troubles: RedisTroubles = { emptied: [], refusing: [], restored: [] }
  const perform: Stage['perform'] = async (step, note) => {
    switch (step.kind) {
      case 'redis freezes':
        note('Redis freezes')
        redis.freeze()
        await sleep(step.forMs)
        redis.thaw()
        note('Redis thaws')
        return
      case 'redis is killed': {
        note('Redis is killed')
        const loss = begin(troubles.emptied)
        await redis.kill()
        await sleep(step.forMs)
        await redis.start()
        loss.to = Date.now()
        note('Redis is there again, empty')
        return
      }
      case 'redis is flushed': {
        note('Redis is flushed')
        // Nobody notices, so what somebody is just saying may be lost with the rest.
        const loss = begin(troubles.emptied, AROUND_MS)
        await command(redis.port, 'FLUSHALL')
        loss.to = Date.now() + AROUND_MS
        return
      }
      case 'redis refuses writes': {
        note('Redis refuses writes: a replica is missing')
        const stretch = begin(troubles.refusing)
        await command(redis.port, 'CONFIG SET min-replicas-to-write 1')
        await sleep(step.forMs)
        await command(redis.port, 'CONFIG SET min-replicas-to-write 0')
        stretch.to = Date.now()
        note('Redis takes writes again')
        return
      }
      case 'redis evicts': {
        note('Redis evicts')
        const loss = begin(troubles.emptied, AROUND_MS)
        await command(redis.port, 'CONFIG SET maxmemory-policy allkeys-random')
        await command(redis.port, 'CONFIG SET maxmemory 1500000')
        await sleep(step.forMs)
        await command(redis.port, 'CONFIG SET maxmemory 0')
        loss.to = Date.now() + AROUND_MS
        return
      }
      case 'redis returns from a snapshot': {
        const loss = { from: Date.now() - AROUND_MS, to: Number.POSITIVE_INFINITY }
        await command(redis.port, 'SAVE')
        await sleep(step.forMs)
        note('Redis is killed, and comes back from a snapshot')
        troubles.emptied.push(loss)
        troubles.restored.push(loss)
        await redis.kill()
        await redis.start()
        loss.to = Date.now()
        rmSync(join(folder, 'dump.rdb'), { force: true })
        return
      }
      case 'redis replays messages':
        return recording.replay(note)
      case 'redis is far':
        note(`Redis is ${step.roundTripMs} ms away`)
        way.set({ answers: 'delay', ms: step.roundTripMs })
        await sleep(step.forMs)
        way.set({ answers: 'pass' })
        return
      case 'redis cuts connections':
        note(`Redis cuts all connections of type ${step.type}`)
        return command(redis.port, `CLIENT KILL TYPE ${step.type}`)
      case 'redis moves slots':
        throw new Error('one server has no slots to move')
    }
  }
  return {
    options:
      kind === 'tls' ? { url: way.url.replace('redis:', 'rediss:'), tls: { ca: CERTIFICATE } } : { url: way.url },
    troubles,
    perform,
    thaw: redis.thaw,
    async [Symbol.asyncDispose]() {
      recording.destroy()
      await way[Symbol.asyncDispose]()
      await redis.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function tlsArguments(folder: string, port: number): string[] {
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
  writeFileSync(certificate, CERTIFICATE)
  writeFileSync(key, KEY)
  const files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate]
  return ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no']
}

async function openClusterStage(): Promise<Stage> {
  const cluster = await startCluster()
  const recording = recordMessages(cluster.nodes[0]!.port)
  const troubles: RedisTroubles = { emptied: [], refusing: [], restored: [] }
  const everywhere = (text: string) => Promise.all(cluster.nodes.map(({ port }) => command(port, text)))
  return {
    options: { cluster: cluster.urls },
    troubles,
    async perform(step, note) {
      switch (step.kind) {
        case 'redis is flushed': {
          note('all nodes are flushed')
          const loss = begin(troubles.emptied, AROUND_MS)
          await everywhere('FLUSHALL')
          loss.to = Date.now() + AROUND_MS
          return
        }
        case 'redis cuts connections':
          note(`all nodes cut their connections of type ${step.type}`)
          return void (await everywhere(`CLIENT KILL TYPE ${step.type}`))
        case 'redis replays messages':
          return recording.replay(note)
        case 'redis moves slots':
          return moveSlots(cluster, step.forMs, note)
        default:
          throw new Error(`a cluster is not planned to meet: ${step.kind}`)
      }
    },
    thaw: () => {},
    async [Symbol.asyncDispose]() {
      recording.destroy()
      await cluster[Symbol.asyncDispose]()
    },
  }
}

/** How many keys' slots are moved at once. */
const MOVED = 12

/** Moves slots in which there are keys from one node to the next; for a while each of them is here in part, and there in part. */
async function moveSlots(cluster: Cluster, forMs: number, note: (text: string) => void): Promise<void> {
  const clients = await Promise.all(cluster.nodes.map(({ url }) => beside(url)))
  try {
    const sizes = await Promise.all(clients.map((client) => client.dbSize()))
    const from = sizes.indexOf(Math.max(...sizes))
    const to = (from + 1) % clients.length
    const [source, target] = [clients[from]!, clients[to]!]
    const [sourceId, targetId] = await Promise.all([source, target].map((node) => said(node, 'CLUSTER', 'MYID')))
    const keys = await Promise.all(Array.from({ length: MOVED }, () => said(source, 'RANDOMKEY')))
    const slots = new Set(await Promise.all(keys.map((key) => said(source, 'CLUSTER', 'KEYSLOT', key))))
    const move = (keys: readonly string[]) =>
      Promise.all(
        keys.map((key) =>
          said(source, 'MIGRATE', '127.0.0.1', String(cluster.nodes[to]!.port), key, '0', '2000', 'REPLACE'),
        ),
      )
    const keysIn = async (slot: string) =>
      (await source.sendCommand(['CLUSTER', 'GETKEYSINSLOT', slot, '1000'])) as unknown as string[]
    note(`${slots.size} slots begin to move from node ${from} to node ${to}`)
    for (const slot of slots) {
      await said(target, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId!)
      await said(source, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId!)
      const held = await keysIn(slot)
      await move(held.filter((_, nth) => nth % 2 === 0))
    }
    await sleep(forMs)
    for (const slot of slots) {
      for (let left = await keysIn(slot); left.length > 0; left = await keysIn(slot)) await move(left)
      for (const node of [target, source, ...clients]) await said(node, 'CLUSTER', 'SETSLOT', slot, 'NODE', targetId!)
    }
    note('the slots have moved')
  } finally {
    for (const client of clients) client.destroy()
  }
}

const said = async (client: RedisClient, ...words: string[]) => String(await client.sendCommand(words))

async function beside(url: string) {
  const client = createClient({ url, socket: { reconnectStrategy: false } })
  client.on('error', () => {})
  return client.connect()
}

function begin(stretches: Stretch[], beforeMs = 0): Stretch {
  const stretch = { from: Date.now() - beforeMs, to: Number.POSITIVE_INFINITY }
  stretches.push(stretch)
  return stretch
}

/** Writes down what processes tell each other, to say it again. Begins anew whenever Redis does. */
function recordMessages(port: number) {
  const recorded: string[] = []
  let over = false
  let socket: Socket | undefined
  const listen = () => {
    if (over) return
    let text = ''
    socket = connect(port, '127.0.0.1', () => socket!.write('PSUBSCRIBE holdfast:*backplane\r\n'))
    socket.on('data', (data) => {
      text = (text + data.toString('latin1')).slice(-20_000)
      for (const [, channel, message] of text.matchAll(/(holdfast:\S*backplane)\r\n\$\d+\r\n([\w+/=]+)\r\n/g)) {
        const again = `PUBLISH ${channel} ${message}`
        if (recorded.at(-1) !== again && !recorded.slice(-50).includes(again)) recorded.push(again)
      }
      recorded.splice(0, recorded.length - 1_000)
    })
    socket.on('error', () => {})
    socket.on('close', () => void sleep(100).then(listen))
  }
  listen()
  return {
    async replay(note: (text: string) => void) {
      const messages = recorded.slice(-200)
      note(`${messages.length} messages are said again`)
      for (const message of messages) await command(port, message)
    },
    destroy: () => {
      over = true
      socket?.destroy()
    },
  }
}

/** Says one command to Redis, and waits for its answer. */
function command(port: number, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${text}\r\n`))
    socket.setTimeout(3_000, () => socket.destroy(new Error(`Redis did not answer ${text}`)))
    socket.once('data', () => {
      resolve()
      socket.destroy()
    })
    socket.once('error', reject)
    // It may have cut this connection too.
    socket.once('close', () => resolve())
  })
}
