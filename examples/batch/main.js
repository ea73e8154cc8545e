// Asks an API that allows each user 100 calls a minute for 500 items, with three keys of two users.
// WINDOW_MS is the API's minute: 6 s, so that there is something to see soon. Give it 60000 for the real thing.
import { batch, createKeyVault, createOwnerQuota, readQuotaHeaders } from 'holdfast'
import { startApi } from './api.js'

const windowMs = Number(process.env.WINDOW_MS ?? 6_000)
const users = { 'key-1-of-ann': 'ann', 'key-2-of-ann': 'ann', 'key-of-bob': 'bob' }
const api = await startApi({ users, limit: 100, windowMs })

// Whose key is it? The API knows, and is asked once for each. Set DATABASE_URL to keep the vault.
const vault = await createKeyVault({
  secret: process.env.HOLDFAST_SECRET ?? 'only-for-this-example-at-least-32-bytes',
  ownerOf: async (key) => (await (await fetch(`${api.url}/key/owner?key=${key}`)).json()).user,
})
for (const key of Object.keys(users)) await vault.add(key)

const quota = createOwnerQuota({ limit: 100, windowMs })
const began = performance.now()
const items = Array.from({ length: 500 }, (_, index) => index)

const results = await batch(items, {
  keys: [...(await vault.keysOf('ann')), ...(await vault.keysOf('bob'))],
  quota,
  async send(item, key, { signal, learn }) {
    const response = await fetch(`${api.url}/item/${item}?key=${key}`, { signal })
    const said = readQuotaHeaders(response.headers)
    learn(said)
    // Carrying retryAfterMs, it closes this user's pool, and the item goes again.
    if (response.status === 429) throw Object.assign(new Error('429'), { retryAfterMs: said.retryAfterMs ?? 1_000 })
    return response.json()
  },
  onProgress({ done, total, waitingUntil }) {
    if (!process.stdout.isTTY) return
    const waiting = waitingUntil ? `, waiting until ${waitingUntil.toISOString().slice(11, 19)} UTC` : ''
    process.stdout.write(`\r\u001b[2K${done} of ${total}${waiting}`)
  },
})

if (process.stdout.isTTY) process.stdout.write('\r\u001b[2K')
const seconds = (performance.now() - began) / 1000
const inOrder = results.every((result, index) => result.status === 'fulfilled' && Number(result.value.item) === index)
console.log(`${results.length} items in ${seconds.toFixed(1)} s, in order: ${inOrder}`)
console.log(`calls ${api.calls}, 429s ${api.refused}, most in one window ${api.most} of 100`)
// 200 at once, 200 a window later, 100 two windows later.
console.log(`the least that two users' limits allow: ${((2 * windowMs) / 1000).toFixed(1)} s`)

await vault.close()
await quota.close()
api.close()
