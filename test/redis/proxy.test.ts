import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { startProxy } from './proxy.ts'

describe('the proxy of these tests', () => {
  test('never changes the order of what is said on a connection, also when its delay ends', async () => {
    const accepted = Promise.withResolvers<Socket>()
    const server = createServer(accepted.resolve).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using proxy = await startProxy((server.address() as AddressInfo).port)
    const client = connect(Number(new URL(proxy.url).port), '127.0.0.1')
    const far = await accepted.promise
    let heard = ''
    client.on('data', (data) => {
      heard += data
    })
    // Each goes its own way: said far away, nearer, and not delayed at all.
    for (const [text, ms] of [
      ['one ', 60],
      ['two ', 20],
      ['three', 0],
    ] as const) {
      proxy.set(ms > 0 ? { answers: 'delay', ms } : { answers: 'pass' })
      await new Promise((resolve) => far.write(text, resolve))
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await expect.poll(() => heard).toContain('three')
    expect(heard).toBe('one two three')
    client.destroy()
    server.close()
  })
})
