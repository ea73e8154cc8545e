import type { createClient as CreateClient, createCluster as CreateCluster } from '@keyv/redis'
import type { RedisConfig, RedisCredentials } from '../config/redis.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { Script } from './script.ts'

/** RESP's type of bulk strings: read as Buffers where values are binary. */
const BULK_STRING = 36
const BINARY = { typeMapping: { [BULK_STRING]: Buffer } }
const CONNECT_TIMEOUT_MS: Milliseconds = 1_000

/**
 * One connection to Redis: commands, and the channels that are listened to beside them. It never reconnects: a new one
 * is opened instead, so that nothing of the old one (a queued command, a listener) is left in the next.
 */
export interface Link {
  /** The values under keys; of one slot, unless it `readsTogether` what is in any. */
  read(keys: readonly string[]): Promise<Array<Buffer | null>>
  readonly readsTogether: boolean
  run(script: Script, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown>
  subscribe(channel: string, listener: (message: Buffer) => void): Promise<void>
  publish(channel: string, message: Buffer | string): Promise<unknown>
  /** Answers once every node that serves keys has. */
  ping(): Promise<unknown>
  /** Ends it at once; what is under way rejects. Idempotent. */
  destroy(): void
}

export type RedisArgument = string | number | Buffer

/** Loads the library; it is not read from disk before Redis is configured. */
export const loadLibrary = () => import('@keyv/redis')

/**
 * Connects. `onEnd` is called when any part of it ended by itself. Rejects with the library's own error, which may name
 * the host and never the password, or with what the credentials function threw.
 */
export async function openLink(
  config: RedisConfig,
  onEnd: (error: unknown) => void,
  signal: AbortSignal,
): Promise<Link> {
  const [{ createClient, createCluster }, credentials] = await Promise.all([loadLibrary(), config.credentials?.()])
  if (signal.aborted) throw signal.reason
  const open = { urls: config.urls, tls: config.tls, credentials, onEnd }
  const link = config.cluster ? clusterLink(createCluster, open) : singleLink(createClient, open)
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

interface Opening {
  readonly urls: readonly string[]
  readonly tls: RedisConfig['tls']
  readonly credentials: RedisCredentials | undefined
  readonly onEnd: (error: unknown) => void
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

function singleLink(createClient: typeof CreateClient, { urls, tls, credentials, onEnd }: Opening): Unconnected {
  const sockets = endOfSockets()
  const [url] = urls as [string]
  // The library knows no URLs of sockets. It takes `tls` of an object over what the URL says.
  const at = url.startsWith('unix:')
    ? { socket: { ...sockets.options, path: decodeURIComponent(new URL(url).pathname) } }
    : { url, socket: { ...sockets.options, ...(tls && { ...tls, tls: true as const }) } }
  const client = createClient({ ...CLIENT_OPTIONS, ...at, ...credentials })
  const subscriber = client.duplicate()
  for (const one of [client, subscriber]) {
    one.on('error', onEnd)
    one.on('end', onEnd)
    // An idle connection keeps no process alive; who waits for an answer has a deadline, and that does.
    one.unref()
  }
  const run = scriptRunner((command) => client.sendCommand(command))
  return {
    connect: async () => {
      await Promise.all([client.connect(), subscriber.connect()])
    },
    readsTogether: true,
    read: (keys) => client.sendCommand<Array<Buffer | null>>(['MGET', ...keys], BINARY),
    run: (script, keys, args) => run(script, keys, args),
    subscribe: (channel, listener) => subscriber.subscribe(channel, listener, true),
    publish: (channel, message) => client.publish(channel, message),
    ping: () => client.ping(),
    destroy: () => {
      for (const one of [client, subscriber]) if (one.isOpen) one.destroy()
      sockets.end()
    },
  }
}

function clusterLink(createCluster: typeof CreateCluster, { urls, tls, credentials, onEnd }: Opening): Unconnected {
  const { username, password, protocol } = new URL(urls[0]!)
  const sockets = endOfSockets()
  const cluster = createCluster({
    rootNodes: urls.map((url) => ({ url })),
    // The nodes that are found through these have the same user and encryption.
    defaults: {
      ...CLIENT_OPTIONS,
      ...(username !== '' && { username: decodeURIComponent(username) }),
      ...(password !== '' && { password: decodeURIComponent(password) }),
      ...credentials,
      socket: { ...sockets.options, ...((tls || protocol === 'rediss:') && { ...tls, tls: true as const }) },
    },
  })
  for (const event of ['error', 'node-error', 'node-disconnect']) cluster.on(event, onEnd)
  const masters = () => Promise.all(cluster.masters.map((node) => cluster.nodeClient(node)))
  const unref = async () => {
    for (const client of await masters()) client.unref()
    cluster.pubSubNode?.client.unref()
  }
  const binary = cluster.withTypeMapping(BINARY.typeMapping)
  const run = scriptRunner((command, key) => cluster.sendCommand(key, false, command))
  return {
    connect: async () => {
      await cluster.connect()
      await unref()
    },
    readsTogether: false,
    read: (keys) => binary.mGet(keys as string[]) as unknown as Promise<Array<Buffer | null>>,
    run: (script, keys, args) => run(script, keys, args),
    subscribe: async (channel, listener) => {
      await cluster.subscribe(channel, listener, true)
      await unref()
    },
    publish: (channel, message) => cluster.publish(channel, message),
    ping: async () => Promise.all((await masters()).map((client) => client.ping())),
    destroy: () => {
      // One by one: the cluster's own destroy() stops at the first that has ended by itself.
      const clients = [...cluster.masters, cluster.pubSubNode].map((node) => node?.client)
      for (const client of clients) if (client?.isOpen) client.destroy()
      sockets.end()
    },
  }
}

/** Sends a command as it is. The library's own methods for each command cost as much again as sending it. */
type Send = (command: Array<string | Buffer>, key: string | undefined) => Promise<unknown>

/**
 * Runs scripts by their names. Each is sent in full the first time, so that a new connection waits for no script to be
 * asked for; and again where Redis says that it does not know it.
 */
function scriptRunner(send: Send) {
  const known = new Set<string>()
  return (script: Script, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> => {
    const words: Array<string | Buffer> = [String(keys.length), ...keys]
    for (const argument of args) words.push(typeof argument === 'number' ? String(argument) : argument)
    const inFull = () => send(['EVAL', script.source, ...words], keys[0])
    if (!known.has(script.sha1)) {
      known.add(script.sha1)
      return inFull()
    }
    return send(['EVALSHA', script.sha1, ...words], keys[0]).catch((error: unknown) => {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return inFull()
    })
  }
}
