import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createVirtualClock, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, visit } from './visitor.ts'

const run = promisify(execFile)

describe('close', () => {
  it('ends what hangs and what is late, and may be called twice', async () => {
    const clock = createVirtualClock()
    const simulator = await startSimulator({ clock })
    const stop = simulator.fault('hang')
    const hanging = visit(simulator, '/users/@me', { as: bearer(simulator) }).catch(() => 'ended')
    await expect.poll(() => simulator.calls.length, { interval: 1 }).toBe(1)
    stop()
    simulator.fault('slow', { ms: 3_600_000 })
    const late = visit(simulator, '/users/@me', { as: bearer(simulator) }).catch(() => 'ended')
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await Promise.all([simulator.close(), simulator.close()])
    await simulator.close()
    expect([await hanging, await late]).toEqual(['ended', 'ended'])
    expect(clock.sleepers).toBe(0)
  })

  it('ends a request that has not arrived yet, which then never happened', async () => {
    const clock = createVirtualClock()
    const simulator = await startSimulator({ clock, latencyMs: 1000 })
    const travelling = visit(simulator, '/users/@me', { as: bearer(simulator) }).catch(() => 'ended')
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await simulator.close()
    expect(await travelling).toBe('ended')
    await clock.advance(10_000)
    expect(simulator.calls).toEqual([])
  })

  it('frees the port', async () => {
    const first = await startSimulator()
    const port = Number(new URL(first.url).port)
    await visit(first, '/users/@me', { as: bearer(first) })
    await first.close()
    await using second = await startSimulator({ port })
    expect(new URL(second.url).port).toBe(String(port))
  })

  it('leaves nothing behind that keeps a process alive', async () => {
    const simulator = fileURLToPath(new URL('../../src/simulator/simulator.ts', import.meta.url))
    const program = `
      const { startSimulator } = await import(${JSON.stringify(simulator)})
      const simulator = await startSimulator({ latencyMs: [0, 2] })
      const init = { headers: { authorization: 'Bot ' + simulator.botToken, 'user-agent': 'DiscordBot (x, 1)' } }
      await (await fetch(simulator.url + '/users/@me', init)).text()
      simulator.fault('hang')
      fetch(simulator.url + '/users/@me', init).catch(() => {})
      while (simulator.calls.length < 2) await new Promise((resolve) => setImmediate(resolve))
      await simulator.close()
      process.stdout.write(simulator.calls.map(({ status }) => status).join())`
    const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', program], { timeout: 10_000 })
    expect([stdout, stderr.replace(/.*ExperimentalWarning[\s\S]*/, '')]).toEqual(['200,0', ''])
  })
})
