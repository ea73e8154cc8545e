// `batchStream` over a million requests in memory: the heap it needs on the way, and its pace.
import { batchStream, createOwnerQuota } from 'holdfast'

const REQUESTS = 1_000_000
const quota = createOwnerQuota({ limit: 1_000_000_000, windowMs: 60_000 })
const keys = Array.from({ length: 20 }, (_, index) => ({ key: `k${index}`, owner: `o${index}` }))
function* input() {
  for (let n = 0; n < REQUESTS; n++) yield n
}

const heapMb = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}
let done = 0
const began = performance.now()
for await (const _ of batchStream(input(), { keys, quota, send: async (n) => n }))
  if (++done % 100_000 === 0)
    console.log(
      `${done} requests: heap ${heapMb().toFixed(1)} MB, ${((performance.now() - began) / 1_000).toFixed(1)} s`,
    )
await quota.close()
