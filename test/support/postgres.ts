import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { freePort } from './redis-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A PostgreSQL that all tests share; undefined where there is none, and those tests are skipped. */
    postgresUrl: string | undefined
  }
}

/**
 * DATABASE_TEST_URL, else a server of our own: from PATH or /usr/lib/postgresql, else Debian's package. Where none of
 * these is to be had, the tests that need PostgreSQL are skipped with one loud line, and with CI=true that is a failure.
 */
export default async function setup(project: TestProject): Promise<() => void> {
  const given = process.env.DATABASE_TEST_URL
  const binaries = given ? undefined : (findBinaries() ?? install())
  if (given || binaries === undefined) {
    project.provide('postgresUrl', given)
    if (!given)
      missing('no PostgreSQL is to be had (DATABASE_TEST_URL, postgres, apt-get as root): its tests are skipped')
    return () => {}
  }
  const server = await start(binaries)
  project.provide('postgresUrl', server.url)
  return server.stop
}

/** The folder with `initdb` and `pg_ctl`; '' where they are on PATH. */
function findBinaries(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  for (const folder of ['', ...versions.map((version) => join(root, version, 'bin'))]) {
    try {
      // Not pg_ctl: as root it does not even tell its version.
      for (const program of ['initdb', 'postgres'])
        execFileSync(join(folder, program), ['--version'], { stdio: 'ignore' })
      return folder
    } catch {
      // Not here.
    }
  }
  return undefined
}

function install(): string | undefined {
  if (process.getuid?.() !== 0) return undefined
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore', env, timeout: 120_000 })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'postgresql'], {
      stdio: 'ignore',
      env,
      timeout: 300_000,
    })
  } catch {
    return undefined
  }
  return findBinaries()
}

async function start(binaries: string): Promise<{ url: string; stop: () => void }> {
  const data = mkdtempSync(join(tmpdir(), 'holdfast-postgres-'))
  const port = await freePort()
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
    chownSync(data, id('-u'), id('-g'))
  }
  // PostgreSQL does not run as root.
  const run = (program: string, ...args: string[]) => {
    const words = [join(binaries, program), ...args]
    if (isRoot)
      execFileSync('runuser', ['-u', 'postgres', '--', ...words], { stdio: 'ignore', cwd: '/', timeout: 60_000 })
    else execFileSync(words[0]!, words.slice(1), { stdio: 'ignore', timeout: 60_000 })
  }
  const user = isRoot ? 'postgres' : userInfo().username
  run('initdb', '-D', data, '-A', 'trust', '-U', user, '--no-sync')
  const options = `-c listen_addresses=127.0.0.1 -c port=${port} -c unix_socket_directories=${data} -c fsync=off`
  run('pg_ctl', '-D', data, '-w', '-t', '30', '-l', join(data, 'log'), '-o', options, 'start')
  let stopped = false
  const stop = () => {
    if (stopped) return
    stopped = true
    run('pg_ctl', '-D', data, '-m', 'immediate', 'stop')
    rmSync(data, { recursive: true, force: true })
  }
  // Whatever ends this process ends the server too.
  process.once('exit', stop)
  return { url: `postgres://${user}@127.0.0.1:${port}/postgres`, stop }
}

function missing(line: string): void {
  if (process.env.CI === 'true') throw new Error(`${line}; with CI=true that is a failure`)
  process.stderr.write(`\n  !!! ${line} !!!\n\n`)
}
