import { describe, expect, it } from 'vitest'
import { createVirtualClock, startSimulator } from '../../src/simulator/simulator.ts'

describe('the virtual clock', () => {
  it('starts where it is told, with monotonic at 0, and stands still', async () => {
    const clock = createVirtualClock(1000)
    await new Promise((resolve) => process.nextTick(resolve))
    expect([clock.now(), clock.monotonic()]).toEqual([1000, 0])
    expect(createVirtualClock().now()).toBe(Date.UTC(2026, 0, 1))
  })

  it('moves both clocks on by what it is advanced', async () => {
    const clock = createVirtualClock(1000)
    await clock.advance(250)
    expect([clock.now(), clock.monotonic()]).toEqual([1250, 250])
  })

  it('wakes each sleeper at its own time, in order, and those of the same time in the order they lay down', async () => {
    const clock = createVirtualClock(0)
    const woken: string[] = []
    const sleep = (name: string, ms: number) =>
      clock.sleep(ms).then(() => woken.push(`${name} at ${clock.monotonic()}`))
    const all = Promise.all([sleep('late', 30), sleep('early', 10), sleep('twin', 30), sleep('later', 31)])
    await clock.advance(30)
    expect(woken).toEqual(['early at 10', 'late at 30', 'twin at 30'])
    await clock.advance(1)
    await all
    expect(clock.sleepers).toBe(0)
  })

  it('wakes a sleeper that lay down while time was moving, within the same advance', async () => {
    const clock = createVirtualClock(0)
    let wokenAt: number | undefined
    const chain = clock
      .sleep(10)
      .then(() => clock.sleep(10))
      .then(() => {
        wokenAt = clock.monotonic()
      })
    await clock.advance(100)
    await chain
    expect(wokenAt).toBe(20)
    expect(clock.monotonic()).toBe(100)
  })

  it('does not wake a sleeper early', async () => {
    const clock = createVirtualClock()
    let awake = false
    const sleeping = clock.sleep(10).then(() => {
      awake = true
    })
    await clock.advance(9.999)
    expect(awake).toBe(false)
    await clock.advance(0.001)
    await sleeping
    expect(awake).toBe(true)
  })

  it('rejects a sleep with the reason of its signal, at once, and forgets it', async () => {
    const clock = createVirtualClock()
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    const sleeping = clock.sleep(10, controller.signal)
    expect(clock.sleepers).toBe(1)
    controller.abort(reason)
    await expect(sleeping).rejects.toBe(reason)
    await expect(clock.sleep(10, controller.signal)).rejects.toBe(reason)
    expect(clock.sleepers).toBe(0)
  })

  it('steps the wall clock alone', async () => {
    const clock = createVirtualClock(1000)
    clock.step(-500)
    expect([clock.now(), clock.monotonic()]).toEqual([500, 0])
    await clock.advance(10)
    expect([clock.now(), clock.monotonic()]).toEqual([510, 10])
  })

  it('settles requests that were under way: sixty at 50 ms are all answered after 50 ms', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock, latencyMs: 50, users: 60 })
    let answered = 0
    const all = simulator.users.map(async ({ accessToken }) => {
      const response = await fetch(`${simulator.url}/users/@me/guilds`, {
        headers: { authorization: `Bearer ${accessToken}` },
      })
      await response.text()
      answered++
    })
    await clock.advance(49)
    expect(answered).toBe(0)
    await clock.advance(1)
    expect(answered).toBe(60)
    await Promise.all(all)
    expect(simulator.calls).toHaveLength(60)
  })

  it('watches nobody once the simulator is closed', async () => {
    const clock = createVirtualClock()
    let asked = 0
    const end = clock.watch(() => {
      asked++
      return 0
    })
    await clock.advance(1)
    expect(asked).toBeGreaterThan(0)
    end()
    asked = 0
    await clock.advance(1)
    expect(asked).toBe(0)
  })
})
