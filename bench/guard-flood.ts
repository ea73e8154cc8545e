// A million distinct addresses: what do they cost, and is anybody who is being limited forgotten?
import { createGuard } from 'holdfast'
import { judge, table } from './figures.ts'

const ADDRESSES = 1_000_000
const MB = 1024 * 1024

/** Heap after what can be collected was. */
function heapMB(): number {
  global.gc?.()
  return process.memoryUsage().heapUsed / MB
}

function ask(remoteAddress: string) {
  return { method: 'POST', path: '/api/x', header: () => null, remoteAddress }
}

const address = (index: number) => `2001:db8:${(index >> 16).toString(16)}:${(index & 0xffff).toString(16)}::1`

function flood(maxCallers: number) {
  const before = heapMB()
  const guard = createGuard({ rules: { '/api/*': '5/hour' }, shedding: false, maxCallers })
  const limited = ask('203.0.113.7')
  for (let time = 0; time < 5; time++) guard.check(limited)
  const began = performance.now()
  let refused = 0
  for (let index = 0; index < ADDRESSES; index++) {
    const decision = guard.check(ask(address(index)))
    if ('status' in decision) refused++
  }
  const µs = ((performance.now() - began) * 1000) / ADDRESSES
  const freed = 'status' in guard.check(limited) ? 0 : 1
  const memory = heapMB() - before
  return { guard, memory, µs, refused, freed }
}

const bounded = flood(200_000)
const roomy = flood(2 * ADDRESSES)
table(
  ['1 000 000 addresses', 'MB', 'bytes a caller', 'µs a decision', 'refused'],
  [
    ['room for 200 000 (default)', bounded.memory, (bounded.memory * MB) / 200_000, bounded.µs, bounded.refused],
    ['room for all', roomy.memory, (roomy.memory * MB) / ADDRESSES, roomy.µs, roomy.refused],
  ],
)
judge([
  { name: 'memory when full', value: bounded.memory, unit: 'MB', target: 100 },
  { name: 'limited callers that the flood freed', value: bounded.freed + roomy.freed, unit: '', target: 0 },
])
await bounded.guard.close()
await roomy.guard.close()
