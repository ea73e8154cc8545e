import { describe, expect, test } from 'vitest'
import { guildsOf, ownServer, store } from './own-server.ts'
import { openRoom, SERVERS } from './room.ts'

const TEXT = (bytes: number) =>
  JSON.stringify(
    Array.from({ length: bytes / 100 }, (_, nth) => ({ id: `${nth}`.padStart(18, '9'), name: 'x'.repeat(60) })),
  )

describe.skipIf(!SERVERS)('a burst of reads of what Redis knows', () => {
  test.each([
    [3_000, 8_000],
    [600, 36_000],
    [150, 200_000],
  ])('%i of %i bytes in one turn are all answered, with the time-outs of production', async (reads, bytes) => {
    await using server = await ownServer()
    const writer = await openRoom({ url: server.url }).up()
    const text = TEXT(bytes)
    const known = Math.min(reads, 100)
    for (let user = 0; user < known; user++) await store(writer, guildsOf(`${user}`), text)
    writer.connection.close()
    using room = await openRoom({
      url: server.url,
      namespace: writer.namespace,
      readTimeoutMs: 100,
      writeTimeoutMs: 500,
    }).up()
    const found = await Promise.all(
      Array.from({ length: reads }, (_, nth) => room.entries.read(guildsOf(`${nth % known}`))),
    )
    expect(found.filter((one) => one?.value?.text !== text)).toHaveLength(0)
    expect(room.states()).toEqual([])
  })

  test('a value that is too large to be shared is not, and is told', async () => {
    await using server = await ownServer()
    using room = await openRoom({ url: server.url }).up()
    const begun = await room.entries.begin(guildsOf('1'), 1_000, 60_000)
    if (begun?.kind !== 'load') throw new Error('no leave to load')
    expect(await room.entries.write(guildsOf('1'), begun.ticket, 'x'.repeat(4_194_305), 60_000)).toBeUndefined()
    expect(room.failures()).toEqual(['write VALUE_TOO_LARGE'])
    // The lease has ended: the next one need not wait for it.
    expect(await room.entries.begin(guildsOf('1'), 1_000, 60_000)).toMatchObject({ kind: 'load' })
  })
})

describe.skipIf(!SERVERS)('values of 4 kB and more', () => {
  test('are compressed where that pays, unless it is turned off, and read either way', async () => {
    await using server = await ownServer()
    using on = await openRoom({ url: server.url }).up()
    using off = await openRoom({ url: server.url, namespace: on.namespace, compress: false }).up()
    const text = TEXT(20_000)
    await store(on, guildsOf('1'), text)
    await store(off, guildsOf('2'), text)
    const noise = Array.from({ length: 2_000 }, () => Math.random().toString(36)).join('')
    await store(on, guildsOf('3'), noise)
    const sizes: number[] = []
    for (const user of ['1', '2', '3']) {
      const name = on.naming.names.of('user', user)
      const { beside } = await import('./room.ts')
      using client = await beside(server.url)
      const [entry] = await client.keys(`*{${name}}:entry*`)
      sizes.push(await client.strLen(entry!))
    }
    expect(sizes[0]).toBeLessThan(text.length / 3)
    expect(sizes[1]).toBeGreaterThan(text.length)
    for (const room of [on, off]) {
      for (const user of ['1', '2']) expect((await room.entries.read(guildsOf(user)))?.value?.text).toBe(text)
      expect((await room.entries.read(guildsOf('3')))?.value?.text).toBe(noise)
    }
  })
})
