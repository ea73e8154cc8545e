import { test } from 'vitest'
import { hundredAtOnce, STORES } from './fleet.ts'

// On every store, and with processes that are killed: test/long/sign-in.
test('four processes, a hundred requests at once with one expired token: one refresh, and nobody is signed out', async () => {
  const [, open] = STORES.find(([name]) => name === 'SQLite')!
  await hundredAtOnce(await open())
}, 60_000)
