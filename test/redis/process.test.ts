import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { run as runCommand } from '../cli/command.ts'
import { freePort, startRedisServer } from '../support/redis-server.ts'
import { freshNamespace, REDIS_URL, SECRET, SERVERS } from './room.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a script that imports the built package in a process of its own, until that ends by itself. */
async function run(script: string, environment: Record<string, string>) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOLDFAST_SECRET: SECRET, NAMESPACE: freshNamespace(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      printed += chunk
    })
  const hung = setTimeout(() => child.kill('SIGKILL'), 15_000)
  const [code] = await once(child, 'close')
  clearTimeout(hung)
  const doneAt = Number(/done at (\d+)/.exec(printed)?.[1] ?? Number.NaN)
  return { code, printed, lingeredMs: Date.now() - doneAt }
}

const CREATE = `
  import { createHoldfast } from 'holdfast'
  const redis = { url: process.env.REDIS_URL, namespace: process.env.NAMESPACE }
  const holdfast = createHoldfast({ redis, logger: undefined })
`
const DONE = "process.stdout.write('done at ' + Date.now() + '\\n')"

describe.skipIf(!REDIS_URL)('a process with Redis ends by itself', () => {
  test.each([
    ['at once', ''],
    ['once Redis is reached', 'await holdfast.ready()'],
    ['after a load', "await holdfast.cache.get('k', { load: async () => 'v' })"],
    ['after close()', "await holdfast.ready(); await holdfast.cache.set('k', 1); await holdfast.close()"],
  ])('%s', async (_when, work) => {
    const { code, printed, lingeredMs } = await run(`${CREATE}${work}\n${DONE}`, { REDIS_URL: REDIS_URL! })
    expect([code, printed]).toEqual([0, expect.stringMatching(/^done at \d+\n$/)])
    expect(lingeredMs).toBeLessThan(3_000)
  })

  test('where nothing listens', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`
    const work = "await holdfast.ready(); await holdfast.cache.get('k', { load: async () => 'v' })"
    const { code, printed, lingeredMs } = await run(`${CREATE}${work}\n${DONE}`, { REDIS_URL: url })
    expect([code, printed]).toEqual([0, expect.stringMatching(/^done at \d+\n$/)])
    expect(lingeredMs).toBeLessThan(3_000)
  })
})

describe.skipIf(!SERVERS)('a frozen Redis', () => {
  test('keeps a process alive while somebody waits for an answer, and no longer', async () => {
    const server = await startRedisServer()
    const work = `
      await holdfast.ready()
      process.kill(${server.pid}, 'SIGSTOP')
      // Nothing but the question itself keeps this process alive.
      holdfast.cache.get('k', { load: async () => 'own' }).then(({ value }) => {
        process.stdout.write(value + '\\n')
        ${DONE}
      })
    `
    const { code, printed, lingeredMs } = await run(CREATE + work, { REDIS_URL: server.url })
    expect([code, printed]).toEqual([0, expect.stringMatching(/^own\ndone at \d+\n$/)])
    expect(lingeredMs).toBeLessThan(3_000)
    await server.stop()
  })
})

describe.skipIf(!SERVERS).concurrent('holdfast doctor', () => {
  const PASSWORD = 'a-password-nobody-may-see'
  const doctor = (url: string) => runCommand(['doctor'], { REDIS_URL: url, HOLDFAST_SECRET: SECRET })

  test('says that Redis is reached', async () => {
    const server = await startRedisServer(['--requirepass', PASSWORD])
    const { out, err } = await doctor(`redis://:${PASSWORD}@127.0.0.1:${server.port}`)
    expect(out).toContain('✓ Redis is reached')
    expect(out + err).not.toContain(PASSWORD)
    expect(out + err).not.toContain(SECRET)
    await server.stop()
  })

  test('says what is lost without it, and with a Keyv store', async () => {
    const { code, out } = await runCommand(['doctor'], { HOLDFAST_SECRET: SECRET })
    expect(out).toMatch(/cache\.store.*atomic lease.*within 5 s/)
    expect(typeof code).toBe('number')
  })

  test.each(['a wrong password', 'nothing that listens', 'a frozen server'])('and where it is not: %s', async (how) => {
    const server = await startRedisServer(['--requirepass', 'the right one'])
    const port = how === 'nothing that listens' ? await freePort() : server.port
    if (how === 'a frozen server') server.freeze()
    const { code, out, err } = await doctor(`redis://:${PASSWORD}@127.0.0.1:${port}`)
    expect(code).toBe(1)
    expect(out).toContain('✗ Redis is away')
    expect(out).toContain('→ check REDIS_URL')
    expect(out + err).not.toContain(PASSWORD)
    await server.stop()
  })
})
