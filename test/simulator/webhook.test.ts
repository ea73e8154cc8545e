import { createPublicKey, verify } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { createVirtualClock, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, visit } from './visitor.ts'

interface Delivery {
  headers: IncomingHttpHeaders
  body: string
}

/** A receiver that answers with `status`, or never if it is 0. */
async function receiver(answer: number | (() => number)) {
  const deliveries: Delivery[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    deliveries.push({ headers: request.headers, body })
    const status = typeof answer === 'number' ? answer : answer()
    if (status !== 0) response.writeHead(status).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/events`, deliveries, close, [Symbol.asyncDispose]: close }
}

function signatureFits({ headers, body }: Delivery, publicKey: string): boolean {
  const x = Buffer.from(publicKey, 'hex').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const message = Buffer.from(`${headers['x-signature-timestamp']}${body}`)
  return verify(null, message, key, Buffer.from(String(headers['x-signature-ed25519']), 'hex'))
}

describe('deauthorize', () => {
  it('ends the tokens and posts a signed APPLICATION_DEAUTHORIZED', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    await using receiving = await receiver(204)
    const user = simulator.users[0]!
    expect(await simulator.deauthorize(user.id, receiving.url)).toBe(204)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(401)
    const [delivery] = receiving.deliveries
    expect(simulator.publicKey).toMatch(/^[0-9a-f]{64}$/)
    expect(signatureFits(delivery!, simulator.publicKey)).toBe(true)
    expect(delivery!.headers['content-type']).toBe('application/json')
    expect(delivery!.headers['x-signature-timestamp']).toBe(String(clock.now() / 1000))
    expect(JSON.parse(delivery!.body)).toMatchObject({
      version: 1,
      application_id: simulator.clientId,
      type: 1,
      event: {
        type: 'APPLICATION_DEAUTHORIZED',
        timestamp: '2026-01-01T00:00:00.000Z',
        data: { user: { id: user.id, username: user.username } },
      },
    })
    expect(clock.sleepers).toBe(0)
  })

  it('resolves to what the receiver answered, and to 0 without a URL or an answer', async () => {
    await using simulator = await startSimulator()
    await using receiving = await receiver(401)
    const gone = await receiver(204)
    await gone.close()
    const { id } = simulator.users[0]!
    expect(await simulator.deauthorize(id, receiving.url)).toBe(401)
    expect(await simulator.deauthorize(id)).toBe(0)
    expect(await simulator.deauthorize(id, gone.url)).toBe(0)
  })

  it('gives up after three seconds, or when the simulator closes', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    await using silent = await receiver(0)
    const { id } = simulator.users[0]!
    const first = simulator.deauthorize(id, silent.url)
    await expect.poll(() => silent.deliveries.length, { interval: 1 }).toBe(1)
    await clock.advance(3000)
    expect(await first).toBe(0)
    const second = simulator.deauthorize(id, silent.url)
    await expect.poll(() => silent.deliveries.length, { interval: 1 }).toBe(2)
    await simulator.close()
    expect(await second).toBe(0)
    expect(await simulator.deauthorize(id, silent.url)).toBe(0)
    expect(clock.sleepers).toBe(0)
  })

  it('refuses a URL it could not post to, before it ends anything', async () => {
    await using simulator = await startSimulator()
    await expect(simulator.deauthorize(simulator.users[0]!.id, 'ftp://x')).rejects.toThrow(/webhookUrl must be/)
    await expect(simulator.ping('nonsense')).rejects.toThrow(TypeError)
    expect((await visit(simulator, '/users/@me', { as: bearer(simulator) })).status).toBe(200)
  })
})

describe('an event that was not taken', () => {
  it('is sent again after 10 s, 20 s and so on, until it is taken', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const statuses = [500, 404, 204]
    await using receiving = await receiver(() => statuses.shift() ?? 204)
    expect(await simulator.deauthorize(simulator.users[0]!.id, receiving.url)).toBe(500)
    await clock.advance(9_999)
    expect(receiving.deliveries).toHaveLength(1)
    await clock.advance(1)
    await expect.poll(() => receiving.deliveries.length, { interval: 1 }).toBe(2)
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await clock.advance(20_000)
    await expect.poll(() => receiving.deliveries.length, { interval: 1 }).toBe(3)
    const [first, , third] = receiving.deliveries
    expect(third!.body).toBe(first!.body)
    expect(signatureFits(third!, simulator.publicKey)).toBe(true)
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(0)
  })

  it('is given up after ten minutes, or when the simulator closes', async () => {
    const clock = createVirtualClock()
    const simulator = await startSimulator({ clock })
    await using receiving = await receiver(500)
    await simulator.deauthorize(simulator.users[0]!.id, receiving.url)
    for (const [nth, waitMs] of [10, 20, 40, 80, 160].map((s) => s * 1000).entries()) {
      await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
      await clock.advance(waitMs)
      await expect.poll(() => receiving.deliveries.length, { interval: 1 }).toBe(nth + 2)
    }
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(0)
    await simulator.deauthorize(simulator.users[0]!.id, receiving.url)
    await expect.poll(() => clock.sleepers, { interval: 1 }).toBe(1)
    await simulator.close()
    expect(clock.sleepers).toBe(0)
  })
})

describe('ping', () => {
  it('is signed, or forged on purpose', async () => {
    await using simulator = await startSimulator()
    await using receiving = await receiver(204)
    expect(await simulator.ping(receiving.url)).toBe(204)
    expect(await simulator.ping(receiving.url, { forged: true })).toBe(204)
    const [right, forged] = receiving.deliveries
    expect(JSON.parse(right!.body)).toEqual({ version: 1, application_id: simulator.clientId, type: 0 })
    expect(signatureFits(right!, simulator.publicKey)).toBe(true)
    expect(signatureFits(forged!, simulator.publicKey)).toBe(false)
  })
})
