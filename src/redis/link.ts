import type { createClient as CreateClient, createCluster as CreateCluster } from '@keyv/redis'
import type { RedisConfig } from '../config/redis.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Script } from './script.ts'

/** RESP's type of bulk strings: read as Buffers where values are binary. */
const BULK_STRING = 36
const BINARY = { typeMapping: { [BULK_STRING]: Buffer } }
const CONNECT_TIMEOUT_MS: Milliseconds = 1_000

/**
 * One life of the connection to Redis: commands, and messages beside them. It never reconnects: whoever holds it makes
 * a new one, so that nothing of an old life (a queued command, a listener) is left in the next.
 */
export interface Link {
  /** The values under keys of one slot. */
  read(keys: readonly string[]): Promise<Array<Buffer | null>>
  run(script: Script, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown>
  subscribe(channel: string, listener: (message: Buffer) => void): Promise<void>
  publish(channel: string, message: Buffer | string): Promise<unknown>
  /** Answers once every node that serves keys has. */
  ping(): Promise<unknown>
  /** Deletes what matches `pattern`, on all nodes. */
  deleteMatching(pattern: string): Promise<void>
  /** Ends it at once; what is under way rejects. Idempotent. */
  destroy(): void
}

export type RedisArgument = string | number | Buffer

/** Loads the library; it is not read from disk before Redis is configured. */
export const loadLibrary = () => import('@keyv/redis')

/**
 * Connects. `onEnd` is called when any part of it ended by itself. Rejects with the library's own error, which may name
 * the host and never the password.
 */
export async function openLink(
  config: RedisConfig,
  onEnd: (error: unknown) => void,
  signal: AbortSignal,
): Promise<Link> {
  const { createClient, createCluster } = await loadLibrary()
  if (signal.aborted) throw signal.reason
  const link = config.cluster
    ? clusterLink(createCluster, config.urls, onEnd)
    : singleLink(createClient, config.urls[0]!, onEnd)
  const abort = () => link.destroy()
  signal.addEventListener('abort', abort, { once: true })
  try {
    await link.connect()
    signal.throwIfAborted()
    return link
  } catch (error) {
    link.destroy()
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** What both kinds of client are told: fail at once instead of queueing, and leave coming back to us. */
const CLIENT_OPTIONS = { disableOfflineQueue: true } as const
const SOCKET_OPTIONS = { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: false } as const

/**
 * Ends all sockets of a link, in whatever state they are: the library's clients cannot be destroyed while they connect,
 * nor can the one that it asks for a cluster's nodes.
 */
const endOfSockets = () => {
  const ending = new AbortController()
  return { end: () => ending.abort(), options: { ...SOCKET_OPTIONS, signal: ending.signal } }
}

type Unconnected = Link & { connect(): Promise<void> }

function singleLink(createClient: typeof CreateClient, url: string, onEnd: (error: unknown) => void): Unconnected {
  const sockets = endOfSockets()
  const client = createClient({ ...CLIENT_OPTIONS, url, socket: sockets.options })
  const subscriber = client.duplicate()
  for (const one of [client, subscriber]) {
    one.on('error', onEnd)
    one.on('end', onEnd)
    // An idle connection keeps no process alive; whoever waits for an answer has a deadline, and that does.
    one.unref()
  }
  const send: Send = (command) => client.sendCommand(command)
  return {
    connect: async () => {
      await Promise.all([client.connect(), subscriber.connect()])
    },
    read: (keys) => client.sendCommand<Array<Buffer | null>>(['MGET', ...keys], BINARY),
    run: (script, keys, args) => runScript(send, script, keys, args),
    subscribe: (channel, listener) => subscriber.subscribe(channel, listener, true),
    publish: (channel, message) => client.publish(channel, message),
    ping: () => client.ping(),
    deleteMatching: (pattern) => deleteMatching(client, pattern),
    destroy: () => {
      for (const one of [client, subscriber]) if (one.isOpen) one.destroy()
      sockets.end()
    },
  }
}

function clusterLink(
  createCluster: typeof CreateCluster,
  urls: readonly string[],
  onEnd: (error: unknown) => void,
): Unconnected {
  const { username, password, protocol } = new URL(urls[0]!)
  const sockets = endOfSockets()
  const cluster = createCluster({
    rootNodes: urls.map((url) => ({ url })),
    // The nodes that are found through these have the same user and encryption.
    defaults: {
      ...CLIENT_OPTIONS,
      ...(username !== '' && { username: decodeURIComponent(username) }),
      ...(password !== '' && { password: decodeURIComponent(password) }),
      socket: { ...sockets.options, ...(protocol === 'rediss:' && { tls: true as const }) },
    },
  })
  for (const event of ['error', 'node-error', 'node-disconnect']) cluster.on(event, onEnd)
  const masters = () => Promise.all(cluster.masters.map((node) => cluster.nodeClient(node)))
  const unref = async () => {
    for (const client of await masters()) client.unref()
    cluster.pubSubNode?.client.unref()
  }
  const binary = cluster.withTypeMapping(BINARY.typeMapping)
  return {
    connect: async () => {
      await cluster.connect()
      await unref()
    },
    read: (keys) => binary.mGet(keys as string[]) as unknown as Promise<Array<Buffer | null>>,
    run: (script, keys, args) =>
      runScript((command) => cluster.sendCommand(keys[0], false, command), script, keys, args),
    subscribe: async (channel, listener) => {
      await cluster.subscribe(channel, listener, true)
      await unref()
    },
    publish: (channel, message) => cluster.publish(channel, message),
    ping: async () => Promise.all((await masters()).map((client) => client.ping())),
    deleteMatching: async (pattern) => {
      for (const client of await masters()) await deleteMatching(client, pattern)
    },
    destroy: () => {
      // One by one: the cluster's own destroy() stops at the first that has ended by itself.
      const clients = [...cluster.masters, cluster.pubSubNode].map((node) => node?.client)
      for (const client of clients) if (client?.isOpen) client.destroy()
      sockets.end()
    },
  }
}

/** Sends a command as it is. The library's own methods for each command cost as much again as sending it. */
type Send = (command: Array<string | Buffer>) => Promise<unknown>

function runScript(
  send: Send,
  script: Script,
  keys: readonly string[],
  args: readonly RedisArgument[],
): Promise<unknown> {
  const command: Array<string | Buffer> = ['EVALSHA', script.sha1, String(keys.length), ...keys]
  for (const argument of args) command.push(typeof argument === 'number' ? String(argument) : argument)
  return send(command).catch((error: unknown) => {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return send(['EVAL', script.source, ...command.slice(2)])
  })
}

/** How many keys are looked at, and deleted, in one step: Redis serves others between the steps. */
const SCAN_COUNT = 1_000

interface Scanner {
  scanIterator(options: { MATCH: string; COUNT: number }): AsyncIterable<string[]>
  unlink(keys: string): Promise<unknown>
}

async function deleteMatching(client: Scanner, pattern: string): Promise<void> {
  for await (const keys of client.scanIterator({ MATCH: pattern, COUNT: SCAN_COUNT }))
    await Promise.all(keys.map((key) => client.unlink(key)))
}
