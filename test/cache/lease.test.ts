import { systemClock } from 'holdfast'
import { expect, test } from 'vitest'
import { loadUnderLease } from '../../src/cache/lease.ts'
import type { Begun, Found, SharedTier } from '../../src/cache/shared-tier.ts'

/** A tier that says what it is told to, in turn. */
function scripted(begins: Begun[], finds: Found[]): SharedTier {
  const none = async () => undefined
  return {
    source: 'redis',
    isUsable: true,
    renewEveryMs: 1_000,
    lately: () => 0,
    listen: () => {},
    read: async () => finds.shift(),
    begin: async () => begins.shift(),
    take: none,
    renew: async () => {},
    write: none,
    giveUp: async () => {},
    done: async () => {},
    invalidate: async () => {},
    invalidateUser: async () => {},
  }
}

const found = (text: string, begunAt: number): Found => ({ value: { text, ageMs: 0, begunAt }, invalidBefore: 0 })

const load = (begins: Begun[], finds: Found[]) =>
  loadUnderLease(scripted(begins, finds), {
    key: { id: 'key', user: undefined, label: 'key', version: '1' },
    freshMs: 1_000,
    staleMs: 10_000,
    // Nothing is held here, and nothing was found: the tier could not be read before.
    heldSince: 0,
    clock: systemClock,
    signal: new AbortController().signal,
    load: async () => 'loaded here',
    decode: (text) => ({ value: text, bytes: text.length }),
    heldOffMs: () => 0,
  })

test('whoever waits for a load is given what it brings', async () => {
  const outcome = await load([{ kind: 'wait', forMs: 1, heldSince: 5 }], [found('new', 6)])
  expect(outcome).toMatchObject({ kind: 'found', value: 'new' })
})

test('whoever waits for a load that fails is not given what was there before', async () => {
  const begins: Begun[] = [
    { kind: 'wait', forMs: 1, heldSince: 5 },
    { kind: 'failed', forMs: 4_000 },
  ]
  await expect(load(begins, [found('old', 5)])).rejects.toMatchObject({
    code: 'LOAD_FAILED_ELSEWHERE',
    retryAfterMs: 4_000,
  })
})

test('whoever waits for a load whose process dies loads instead', async () => {
  const ticket = { begunAt: 7, epoch: 'e', token: 't' }
  const begins: Begun[] = [
    { kind: 'wait', forMs: 1, heldSince: 5 },
    { kind: 'load', ticket },
  ]
  expect(await load(begins, [found('old', 5)])).toMatchObject({ kind: 'loaded', value: 'loaded here', ticket })
})
