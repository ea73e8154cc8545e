import { createHoldfast, type Holdfast } from 'holdfast'
import { oneHoldfast } from 'holdfast/next'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { defaultHoldfast, setDefaultHoldfast } from '../../src/instance/default-instance.ts'

const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
afterEach(() => warned.mockClear())

describe('a second instance of one application', () => {
  const discord = { clientId: '100000000000000001' }

  test('is told of once, whoever listens', async () => {
    const lines: string[] = []
    const warn = (_fields: object, message: string) => void lines.push(message)
    const logger = { debug() {}, info() {}, warn, error() {} }
    const made = [1, 2, 3].map(() => createHoldfast({ discord, logger }))
    expect(lines.length).toBe(1)
    expect(lines[0]).toContain('oneHoldfast()')
    expect(warned.mock.calls.map(([, options]) => options)).toEqual([{ code: 'HOLDFAST_SECOND_INSTANCE' }])
    for (const holdfast of made) await holdfast.close()
  })

  test('is none after the first was closed, for another application, or without an application', async () => {
    await createHoldfast({ discord }).close()
    const made = [
      createHoldfast({ discord }),
      createHoldfast({ discord: { clientId: '100000000000000002' } }),
      createHoldfast({ discord: { ...discord, baseUrl: 'http://127.0.0.1:1/api' } }),
      createHoldfast(),
      createHoldfast(),
    ]
    expect(warned).not.toHaveBeenCalled()
    for (const holdfast of made) await holdfast.close()
  })

  test('is not made by a module that is evaluated again and again, with oneHoldfast()', async () => {
    const evaluate = () => oneHoldfast({ discord: { clientId: '100000000000000003' } })
    const holdfast = evaluate()
    expect([evaluate(), evaluate(), defaultHoldfast()].every((again) => again === holdfast)).toBe(true)
    expect(warned).not.toHaveBeenCalled()
    setDefaultHoldfast(undefined)
    await holdfast.close()
  })

  test.each([
    ['close()', (holdfast: Holdfast) => holdfast.close()],
    ['await using', async (holdfast: Holdfast) => holdfast[Symbol.asyncDispose]()],
  ])('is made by oneHoldfast() after %s of the first, which answers nobody any more', async (_how, end) => {
    const evaluate = () => oneHoldfast({ discord: { clientId: '100000000000000004' } })
    const first = evaluate()
    await end(first)
    const second = evaluate()
    expect(second).not.toBe(first)
    expect(defaultHoldfast()).toBe(second)
    // Closed once more, the first takes nothing away from the second.
    await first.close()
    expect([evaluate(), defaultHoldfast()].every((again) => again === second)).toBe(true)
    expect(warned).not.toHaveBeenCalled()
    await second.close()
  })

  test('is not made by oneHoldfast() without options where the default instance was there first', async () => {
    vi.stubEnv('DISCORD_CLIENT_ID', '100000000000000006')
    // As a guard in proxy.ts does, which Next evaluates before anything else.
    const first = defaultHoldfast()
    expect(oneHoldfast()).toBe(first)
    expect(warned).not.toHaveBeenCalled()
    // With options of its own it cannot be the same, and that is said.
    setDefaultHoldfast(undefined)
    await first.close()
    const second = defaultHoldfast()
    const shared = oneHoldfast({ session: () => null })
    expect(shared).not.toBe(second)
    expect(warned).toHaveBeenCalledOnce()
    expect(defaultHoldfast()).toBe(shared)
    await shared.close()
    await second.close()
    vi.unstubAllEnvs()
  })

  test('that somebody else made the default stays the default when that of oneHoldfast() is closed', async () => {
    const shared = oneHoldfast({ discord: { clientId: '100000000000000005' } })
    const other = createHoldfast()
    setDefaultHoldfast(other)
    await shared.close()
    expect(defaultHoldfast()).toBe(other)
    setDefaultHoldfast(undefined)
    await other.close()
  })
})
