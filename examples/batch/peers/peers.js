// The same calls, without Holdfast: what people do, with the packages that they use. In a folder of its own, with a
// package.json of its own, so that nobody else has to install them.
import Bottleneck from 'bottleneck'
import PQueue from 'p-queue'

/** What a loop around the call does: waits as long as a 429 asks for, then sends again. */
async function again(call, item, key) {
  for (;;) {
    try {
      return await call(item, key)
    } catch (error) {
      if (error.retryAfterMs === undefined) throw error
      await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs))
    }
  }
}

/** Keys take turns, and each item waits for whatever `schedule` makes of its owner's limit. */
function inTurns({ call, items, owners, progress }, schedule) {
  const keys = Object.keys(owners)
  let done = 0
  const settled = () => progress({ done: ++done, total: items.length })
  return Promise.allSettled(
    items.map((item) => {
      const key = keys[item % keys.length]
      return schedule(owners[key], () => again(call, item, key)).finally(settled)
    }),
  )
}

/** A limiter for each owner, which is more than most have: each knows its limit and window. */
function eachOwners(make) {
  const limiters = new Map()
  return (owner) => {
    if (!limiters.has(owner)) limiters.set(owner, make())
    return limiters.get(owner)
  }
}

export const peers = {
  'Retry-After loop': (world) => inTurns(world, (_owner, work) => work()),

  'p-queue': (world) => {
    const of = eachOwners(() => new PQueue({ intervalCap: world.limit, interval: world.windowMs, strict: true }))
    return inTurns(world, (owner, work) => of(owner).add(work))
  },

  async Bottleneck(world) {
    const limiters = []
    const of = eachOwners(() => {
      const limiter = new Bottleneck({
        reservoir: world.limit,
        reservoirRefreshAmount: world.limit,
        // It takes multiples of 250 ms only.
        reservoirRefreshInterval: Math.ceil(world.windowMs / 250) * 250,
      })
      limiters.push(limiter)
      return limiter
    })
    const results = await inTurns(world, (owner, work) => of(owner).schedule(work))
    for (const limiter of limiters) await limiter.disconnect()
    return results
  },
}
