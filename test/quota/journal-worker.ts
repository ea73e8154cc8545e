// A batch that keeps a journal and is killed: asks an API for each of its items, and says when it has ended.
import { createOwnerQuota } from '../../src/instance/quota.ts'
import { batch } from '../../src/quota/batch.ts'
import { batchStream } from '../../src/quota/batch-stream.ts'

const { how, journal, api, items, concurrency } = JSON.parse(process.argv[2]!)
const options = {
  keys: [{ key: 'the-secret-key-of-ann', owner: 'ann' }],
  quota: createOwnerQuota({ limit: 100_000, windowMs: 60_000 }),
  journal,
  concurrency,
  send: async (item: number) => (await fetch(`${api}/${item}`)).json(),
}
const requests = Array.from({ length: items }, (_, item) => item)
const results: unknown[] = []
if (how === 'batch')
  for (const result of await batch(requests, options))
    results.push(result.status === 'fulfilled' ? result.value : (result.reason as { code?: string }).code)
else
  try {
    for await (const result of batchStream(requests, options))
      results[result.index] = result.status === 'fulfilled' ? result.value : (result.reason as { code?: string }).code
  } catch (error) {
    results.push((error as { code?: string }).code)
  }
process.send!(results)
process.disconnect()
