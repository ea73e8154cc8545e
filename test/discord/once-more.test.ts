import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHoldfast } from 'holdfast'
import { afterEach, describe, expect, test } from 'vitest'
import { failureOf } from './scripted-discord.ts'

// The house's own two GETs meet trouble: once more, within the patience.

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function started(listener: RequestListener, patienceMs = 5000) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const holdfast = createHoldfast({
    discord: { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, clientId: '1' },
    cache: { patienceMs },
    random: () => 0,
  })
  cleanups.push(async () => {
    await holdfast.close()
    server.closeAllConnections()
    server.close()
  })
  return holdfast
}

describe('a first visit that meets', () => {
  test.each<[string, RequestListener]>([
    ['a reset', (request) => request.socket.destroy()],
    ['a 502', (_request, response) => response.writeHead(502).end('<html>')],
  ])('%s is served all the same', async (_, trouble) => {
    let asked = 0
    const holdfast = await started((request, response) => {
      if (++asked === 1) return trouble(request, response)
      response.writeHead(200, { 'content-type': 'application/json' }).end('[]')
    })
    expect((await holdfast.memberships({ userId: '7', accessToken: 'abc' })).guilds.size).toBe(0)
    expect(asked).toBe(2)
  })

  test('trouble twice fails after two tries', async () => {
    let asked = 0
    const holdfast = await started((request) => {
      asked++
      request.socket.destroy()
    })
    expect((await failureOf(holdfast.memberships({ userId: '7', accessToken: 'abc' }))).code).toBe('DISCORD_NETWORK')
    expect(asked).toBe(2)
  })

  test('trouble that came after the patience, or names a longer wait, is not tried again', async () => {
    for (const [patienceMs, headers] of [
      [5000, { 'retry-after': '30' }],
      [0, {}],
    ] as const) {
      let asked = 0
      const holdfast = await started((_request, response) => {
        asked++
        response.writeHead(503, headers).end()
      }, patienceMs)
      await failureOf(holdfast.memberships({ userId: '7', accessToken: 'abc' }))
      expect(asked).toBe(1)
    }
  })

  test('a reset while a bearer token is looked up is served all the same', async () => {
    let asked = 0
    const holdfast = await started((request, response) => {
      if (++asked === 1) return void request.socket.destroy()
      const authorization = {
        application: { id: '1' },
        scopes: ['identify', 'guilds'],
        expires: new Date(Date.now() + 3_600_000).toISOString(),
        user: { id: '123456789012345678', username: 'x' },
      }
      const body = request.url!.startsWith('/oauth2') ? authorization : []
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    const request = new Request('https://app.example/', { headers: { authorization: 'Bearer abc' } })
    expect((await holdfast.requireAuth(request)).user.id).toBe('123456789012345678')
    expect(asked).toBe(3)
  })

  test('a call of the app’s own is not tried again unasked', async () => {
    let asked = 0
    const holdfast = await started((request) => {
      asked++
      request.socket.destroy()
    })
    await failureOf(holdfast.getUserGuilds('abc'))
    expect(asked).toBe(1)
  })
})
