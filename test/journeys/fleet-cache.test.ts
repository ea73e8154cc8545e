import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHoldfast, type Holdfast } from 'holdfast'
import { describe, expect, inject, test } from 'vitest'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { SECRET, until } from './fleet.ts'

/** Two instances on a Redis of their own, as two processes would be. */
async function openTwo() {
  const redis = await startRedisServer()
  const [one, two] = [1, 2].map(() => createHoldfast({ redis: redis.url, secret: SECRET })) as [Holdfast, Holdfast]
  await Promise.all([one.ready(), two.ready()])
  return {
    redis,
    one,
    two,
    async [Symbol.asyncDispose]() {
      await Promise.all([one.close(), two.close()])
      await redis.stop()
    },
  }
}

/** Says a command to Redis. */
async function say(redis: RedisServer, command: string): Promise<void> {
  const socket = connect(redis.port, '127.0.0.1', () => socket.write(`${command}\r\n`))
  await new Promise((resolve) => socket.once('data', resolve))
  socket.destroy()
}

describe.skipIf(!inject('redisServers'))('an invalidation', () => {
  test('that comes while Redis is coming back is heard by the others like any other', async () => {
    await using world = await openTwo()
    const { redis, one, two } = world
    // So much to say again that coming back takes a while.
    for (let from = 0; from < 4_000; from += 500)
      await Promise.all(Array.from({ length: 500 }, (_, nth) => one.cache.invalidateUser(`before ${from + nth}`)))
    const users = Array.from({ length: 400 }, (_, nth) => `user ${nth}`)
    const get = (holdfast: Holdfast, user: string, value: string) =>
      holdfast.cache.get({ user, key: 'list' }, { load: async () => value })
    await Promise.all(users.map((user) => get(two, user, 'old')))
    const said: string[] = []
    let comesBack = false
    one.on((event) => {
      if (event.type === 'breaker' && event.name === 'redis') comesBack = event.state === 'half-open'
    })
    await say(redis, 'CLIENT KILL TYPE normal SKIPME yes')
    await until(() => comesBack, 3_000, 'it tries to come back')
    const acknowledged: Array<Promise<void>> = []
    for (const user of users) {
      if (!comesBack) break
      said.push(user)
      acknowledged.push(one.cache.invalidateUser(user))
      await sleep(1)
    }
    await Promise.all(acknowledged)
    expect(said.length).toBeGreaterThan(3)
    for (const holdfast of [one, two]) await until(() => holdfast.stats().redis === 'up', 6_000, 'Redis is there again')
    await sleep(50)
    const values = await Promise.all(said.map(async (user) => (await get(two, user, 'new')).value))
    expect(values.filter((value) => value === 'old')).toEqual([])
  })

  test('is not undone by what was read from Redis before Redis had done it', async () => {
    await using world = await openTwo()
    const { redis, one } = world
    let value = 'old'
    const get = () => one.cache.get({ user: 'ann', key: 'list' }, { load: async () => value })
    await get()
    await sleep(50)
    // As after a restart: each script is refused once, and sent again with its text.
    await say(redis, 'SCRIPT FLUSH')
    value = 'new'
    const acknowledged = one.cache.invalidateUser('ann')
    await get()
    await acknowledged
    expect((await get()).value).toBe('new')
  })

  test('is not what a Redis that forgets everything during a load looks like: who loaded keeps the value', async () => {
    await using world = await openTwo()
    const { redis, one } = world
    const get = (load: () => Promise<string>) => one.cache.get({ user: 'ann', key: 'list' }, { load })
    await get(async () => {
      await say(redis, 'FLUSHALL')
      return 'loaded'
    })
    await sleep(50)
    expect(await get(() => Promise.reject(new Error('Discord is down')))).toMatchObject({ value: 'loaded' })
  })
})
