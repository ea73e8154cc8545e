// Real Redis servers for tests and benches: started on free ports of 127.0.0.1, without files, stopped by their pid.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** `redis-server` or `valkey-server`, where one is on PATH. */
export function redisBinary(): string | undefined {
  for (const name of ['redis-server', 'valkey-server']) {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' })
      return name
    } catch {
      // Not this one.
    }
  }
  return undefined
}

/** Installs Debian's Redis where that is possible: as root, as in a container of a CI. */
export function installRedis(): string | undefined {
  if (process.getuid?.() !== 0) return undefined
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore', env, timeout: 120_000 })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], {
      stdio: 'ignore',
      env,
      timeout: 180_000,
    })
  } catch {
    return undefined
  }
  return redisBinary()
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** SIGSTOP: connections stay open, and nothing answers. */
  freeze(): void
  thaw(): void
  /** SIGKILL. `start` begins it again on the same port, empty unless it was given a file. */
  kill(): Promise<void>
  start(): Promise<void>
  /** Kills it if it runs. */
  stop(): Promise<void>
}

/** Whatever ends this process ends the servers too. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts a server with further arguments of redis-server, and waits until it takes connections. */
export async function startRedisServer(args: readonly string[] = [], port?: number): Promise<RedisServer> {
  const binary = redisBinary()
  if (binary === undefined) throw new Error('neither redis-server nor valkey-server is on PATH')
  const chosen = port ?? (await freePort())
  let child: ChildProcess | undefined
  const ended = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    // A stopped process is killed all the same.
    await once(child, 'exit')
  }
  const remember = (started: ChildProcess) => {
    running.add(started)
    started.once('exit', () => running.delete(started))
  }
  const server = {
    url: `redis://127.0.0.1:${chosen}`,
    port: chosen,
    get pid() {
      return child?.pid ?? 0
    },
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    kill: ended,
    stop: ended,
    start: async () => {
      const where = ['--port', String(chosen), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
      child = spawn(binary, [...where, '--loglevel', 'warning', ...args], { stdio: 'ignore' })
      remember(child)
      await untilOpen(chosen)
    },
  }
  await server.start()
  return server
}

/** Waits until somebody takes connections on a port. */
export async function untilOpen(port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const socket = connect(port, '127.0.0.1')
    const opened = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (opened) return
    await sleep(10)
  }
  throw new Error(`nothing listens on port ${port}`)
}
