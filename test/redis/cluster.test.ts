import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from './cluster.ts'
import { beside, openRoom, SERVERS, timed, until } from './room.ts'

const key = (user: string) => ({ id: `\0u${user.length}:${user}guilds`, user, label: 'guilds', version: 'json' })

/** How many connections of Holdfast a cluster has; ours and the nodes' own are not counted. */
async function connections({ urls }: Cluster): Promise<number> {
  let count = 0
  for (const url of urls) {
    using client = await beside(url)
    count +=
      String(await client.sendCommand(['CLIENT', 'LIST', 'TYPE', 'normal']))
        .trim()
        .split('\n').length - 1
    const subscribed = String(await client.sendCommand(['CLIENT', 'LIST', 'TYPE', 'pubsub'])).trim()
    count += subscribed === '' ? 0 : subscribed.split('\n').length
  }
  return count
}

describe.skipIf(!SERVERS)('a cluster', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 30_000)
  afterAll(() => cluster?.[Symbol.asyncDispose]())
  const open = (options = {}) =>
    openRoom({ urls: cluster.urls, cluster: true, readTimeoutMs: 300, writeTimeoutMs: 600, ...options })

  test('is found through any one of its nodes, and every user has a slot that some node serves', async () => {
    using room = await open({ urls: [cluster.urls[1]!] }).up()
    for (let user = 0; user < 50; user++) {
      const begun = await room.entries.begin(key(`${user}`), 1_000, 60_000)
      if (begun?.kind !== 'load') throw new Error('no leave to load')
      expect(await room.entries.write(key(`${user}`), begun.ticket, 'v', 60_000)).toBe(true)
    }
    expect(room.failures()).toEqual([])
    for (const url of cluster.urls) {
      using client = await beside(url)
      expect(await client.dbSize()).toBeGreaterThan(5)
    }
  })

  test.each([0, 5, 20, 80])('leaves no connection behind when it is closed %i ms after the start', async (ms) => {
    const room = open()
    room.connection.start()
    await sleep(ms)
    room.connection.close()
    await until(async () => (await connections(cluster)) === 0, 3_000, 'the connections to be gone')
    expect(room.connection.isUp).toBe(false)
  })

  test('of which one node is frozen, is away at once, and back when that is; nothing piles up meanwhile', async () => {
    using room = await open().up()
    const before = await connections(cluster)
    const [frozen] = cluster.nodes
    frozen!.freeze()
    // Some user's slot is on that node.
    for (let user = 0; user < 60 && room.connection.isUp; user++) await room.entries.read(key(`${user}`))
    await room.away()
    expect((await timed(() => room.entries.read(key('1')))).turns).toBeLessThan(4)
    await sleep(2_500)
    expect(room.connection.isUp).toBe(false)
    frozen!.thaw()
    await room.up()
    await until(async () => (await connections(cluster)) <= before, 3_000, 'the abandoned connections to be gone')
    expect(room.lines).toHaveLength(1)
  })

  test('of which one node is killed, is away, and back when that is', async () => {
    using room = await open().up()
    const [, killed] = cluster.nodes
    await killed!.kill()
    await room.away()
    expect((await timed(() => room.entries.read(key('1')))).turns).toBeLessThan(4)
    await sleep(500)
    await killed!.start()
    await room.up(20_000)
    const begun = await room.entries.begin(key('another'), 1_000, 60_000)
    expect(begun?.kind).toBe('load')
  })
})
