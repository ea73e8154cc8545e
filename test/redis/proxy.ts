import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What a proxy does with the answers of Redis, and on which connections. */
export type Treatment =
  | { readonly answers: 'pass' | 'swallow' | 'garbage' | 'cut in half'; readonly on?: 'all' | 'commands' | 'messages' }
  | { readonly answers: 'delay'; readonly ms: number; readonly on?: 'all' | 'commands' | 'messages' }

/** A TCP proxy in front of Redis that loses, delays, spoils and cuts what Redis answers. */
export async function startProxy(redisPort: number) {
  let port = redisPort
  const pairs = new Set<{ client: Socket; server: Socket; kind: 'commands' | 'messages' }>()
  let treatment: Treatment = { answers: 'pass' }
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1')
    const pair = { client, server, kind: 'commands' as 'commands' | 'messages' }
    // Delayed, and not yet handed on. What comes after it waits behind it: a connection never changes the order of bytes.
    const late: Array<{ readonly data: Buffer; readonly at: number }> = []
    const handOn = () => {
      while (late.length > 0 && late[0]!.at <= performance.now()) {
        const { data } = late.shift()!
        if (client.writable) client.write(data)
      }
      if (late.length > 0) setTimeout(handOn, late[0]!.at - performance.now()).unref()
    }
    const delay = (data: Buffer, ms: number) => {
      late.push({ data, at: Math.max(performance.now() + ms, late.at(-1)?.at ?? 0) })
      if (late.length === 1) setTimeout(handOn, ms).unref()
    }
    pairs.add(pair)
    const end = () => {
      client.destroy()
      server.destroy()
      pairs.delete(pair)
    }
    for (const socket of [client, server]) socket.on('error', end).on('close', end)
    client.on('data', (data) => {
      if (/subscribe/i.test(data.toString('latin1'))) pair.kind = 'messages'
      server.write(data)
    })
    server.on('data', (data) => {
      const { answers, on = 'all' } = treatment
      if (answers === 'pass' || (on !== 'all' && on !== pair.kind))
        return late.length > 0 ? delay(data, 0) : void client.write(data)
      if (answers === 'garbage') client.write('HTTP/1.1 400 Bad Request\r\n\r\n\x00\xff<html>')
      if (answers === 'cut in half')
        client.write(data.subarray(0, Math.ceil(data.length / 2)), () => client.resetAndDestroy())
      if (treatment.answers === 'delay') delay(data, treatment.ms)
    })
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    set: (next: Treatment) => {
      treatment = next
    },
    /** Connections that are made from now on lead to another server: a name that follows a fail-over. */
    leadTo: (next: number) => {
      port = next
    },
    /** Connection reset, on all connections. */
    reset: () => {
      for (const { client } of pairs) client.resetAndDestroy()
    },
    get connections() {
      return pairs.size
    },
    async [Symbol.asyncDispose]() {
      for (const { client, server } of pairs) for (const socket of [client, server]) socket.destroy()
      proxy.close()
    },
  }
}
