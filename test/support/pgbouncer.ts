import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './redis-server.ts'

export interface PgBouncer {
  /** The same database, through the pooler. */
  readonly url: string
  restart(): Promise<void>
  stop(): Promise<void>
}

/** Whether PgBouncer is to be had: from PATH, else Debian's package. */
export function havePgBouncer(): boolean {
  if (runs()) return true
  if (process.getuid?.() !== 0) return missing()
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore', env, timeout: 120_000 })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'pgbouncer'], {
      stdio: 'ignore',
      env,
      timeout: 300_000,
    })
  } catch {
    return missing()
  }
  return runs() || missing()
}

function runs(): boolean {
  try {
    execFileSync('pgbouncer', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function missing(): false {
  const line = 'no PgBouncer is to be had (pgbouncer, apt-get as root): its tests are skipped'
  if (process.env.CI === 'true') throw new Error(`${line}; with CI=true that is a failure`)
  process.stderr.write(`\n  !!! ${line} !!!\n\n`)
  return false
}

/** PgBouncer in transaction mode in front of a PostgreSQL, with few connections behind it. */
export async function startPgBouncer(url: string, poolSize = 4): Promise<PgBouncer> {
  const target = new URL(url)
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-pgbouncer-'))
  const settings = join(folder, 'pgbouncer.ini')
  writeFileSync(
    settings,
    `[databases]
* = host=${target.hostname} port=${target.port} user=${target.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 500
`,
  )
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
    for (const path of [folder, settings]) chownSync(path, id('-u'), id('-g'))
  }
  let server: ChildProcess
  const start = async () => {
    // It does not run as root.
    server = isRoot
      ? spawn('runuser', ['-u', 'postgres', '--', 'pgbouncer', '-q', settings], { stdio: 'ignore' })
      : spawn('pgbouncer', ['-q', settings], { stdio: 'ignore' })
    for (let tries = 0; !(await listens(port)); tries++) {
      if (tries > 100) throw new Error('PgBouncer did not start')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const stop = () =>
    new Promise<void>((resolve) => {
      server.once('exit', () => resolve())
      server.kill('SIGTERM')
    })
  await start()
  const own = new URL(url)
  own.port = String(port)
  return {
    url: own.href,
    async restart() {
      await stop()
      await start()
    },
    async stop() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
