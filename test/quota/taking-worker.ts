// One of several processes that share an owner: takes what it can, calls, and teaches what the answer says.
import { setTimeout as sleep } from 'node:timers/promises'
import { createOwnerQuota } from '../../src/instance/quota.ts'

const { redis, limit, windowMs, api } = JSON.parse(process.argv[2]!)
const quota = createOwnerQuota({ name: 'taking', limit, windowMs, redis })
// A busy machine may take longer to connect than a question waits.
for (let isUp = false; !isUp; )
  isUp = await quota.state('someone').then(
    () => true,
    () => false,
  )
process.send!('ready')
await new Promise((resolve) => process.once('message', resolve))

await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (;;) {
      const taken = await quota.take('shared')
      if (!taken.ok) {
        await sleep(Math.ceil(taken.retryAfterMs))
        continue
      }
      const answer = await (await fetch(api)).json()
      await quota.learn('shared', answer as { remaining: number; resetAfterMs: number })
    }
  }),
)
