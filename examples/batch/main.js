// The same 300 calls four times: an API that allows each user 100 a minute, three keys of two users, one item that always
// fails and one key that is revoked on the way. First with Holdfast, then as it is done without.
// WINDOW_MS is the API's minute: 3 s, so that it ends soon. The argument `holdfast` runs that one alone.
import { readQuotaHeaders } from 'holdfast'
import { startApi } from './api.js'
import { screen } from './screen.js'
import { spread } from './spread.js'

const windowMs = Number(process.env.WINDOW_MS ?? 3_000)
const limit = 100
const items = Array.from({ length: 300 }, (_, index) => index)
const owners = { 'key-1-of-ann': 'ann', 'key-2-of-ann': 'ann', 'key-of-bob': 'bob' }
// `holdfast` alone needs none of the others' packages.
const contestants = {
  holdfast: spread,
  ...(process.argv[2] !== 'holdfast' && (await import('./peers/peers.js')).peers),
}

const { progress, line } = screen(process.stdout)
line(`${items.length} items, ${limit} calls in ${windowMs / 1_000} s for each of two users.`)
// 200 at once, 100 a window later.
line(`The least that the limits allow: ${(windowMs / 1_000).toFixed(1)} s.`)
line('')
for (const [name, run] of Object.entries(contestants)) {
  const api = await startApi({ users: owners, limit, windowMs })
  const began = performance.now()
  const results = await run({
    api,
    call: caller(api),
    items,
    owners,
    limit,
    windowMs,
    progress: (state) => progress(name, state),
  })
  const seconds = (performance.now() - began) / 1_000
  const inOrder = results.every((result, index) => result.status !== 'fulfilled' || Number(result.value.item) === index)
  const done = results.filter(({ status }) => status === 'fulfilled').length
  line(`${name}: ${done} items in ${seconds.toFixed(1)} s, in order: ${inOrder}`)
  line(`  calls ${api.calls}, 429s ${api.refused}, most in one window ${api.most} of ${limit}`)
  for (const [reason, count] of reasons(results)) line(`  failed: ${count} × ${reason}`)
  api.close()
}

/** Makes one call. Throws what went wrong: a 429 with the wait that it asks for, a revoked key as dead. */
function caller(api) {
  return async (item, key, { signal, learn } = {}) => {
    const response = await fetch(`${api.url}/item/${item}?key=${key}`, { signal })
    const said = readQuotaHeaders(response.headers)
    learn?.(said)
    if (response.ok) return response.json()
    const { error } = await response.json()
    throw Object.assign(new Error(`${response.status} ${error}`), {
      ...(response.status === 429 && { retryAfterMs: said.retryAfterMs ?? 1_000 }),
      ...(response.status === 403 && { keyDead: true }),
    })
  }
}

function reasons(results) {
  const counts = new Map()
  for (const { status, reason } of results)
    if (status === 'rejected') counts.set(reason.message, (counts.get(reason.message) ?? 0) + 1)
  return counts
}
