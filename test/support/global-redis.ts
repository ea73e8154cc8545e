import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestProject } from 'vitest/node'
import { freePort, installRedis, redisBinary, startRedisServer, untilOpen } from './redis-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A Redis that all tests share; undefined where there is none, and those tests are skipped. */
    redisUrl: string | undefined
    /** Whether tests can start servers of their own, to freeze and kill them. */
    redisServers: boolean
  }
}

/**
 * REDIS_URL, else a server found on PATH, else Docker, else Debian's package. Where none of these is to be had, the
 * tests that need Redis are skipped with one loud line, and with CI=true that is a failure.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.REDIS_URL
  const binary = redisBinary() ?? (given || dockerWorks() ? undefined : installRedis())
  project.provide('redisServers', binary !== undefined)
  if (given) {
    project.provide('redisUrl', given)
    if (!binary) missing('redis-server is not on PATH: tests that freeze and kill servers of their own are skipped')
    return async () => {}
  }
  if (binary) {
    const server = await startRedisServer()
    project.provide('redisUrl', server.url)
    return () => server.stop()
  }
  if (dockerWorks()) {
    const port = await freePort()
    const id = docker('run', '--detach', '--rm', '--publish', `127.0.0.1:${port}:6379`, 'redis:7')
    await untilOpen(port)
    await sleep(200)
    project.provide('redisUrl', `redis://127.0.0.1:${port}`)
    missing('redis-server is not on PATH: tests that freeze and kill servers of their own are skipped')
    return async () => void docker('kill', id)
  }
  missing('no Redis is to be had (REDIS_URL, redis-server, Docker, apt-get as root): its tests are skipped')
  project.provide('redisUrl', undefined)
  return async () => {}
}

function missing(line: string): void {
  if (process.env.CI === 'true') throw new Error(`${line}; with CI=true that is a failure`)
  process.stderr.write(`\n  !!! ${line} !!!\n\n`)
}

function docker(...args: string[]): string {
  return execFileSync('docker', args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 120_000,
  }).trim()
}

function dockerWorks(): boolean {
  try {
    docker('info')
    return true
  } catch {
    return false
  }
}
