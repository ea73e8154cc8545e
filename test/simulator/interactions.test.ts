import { createPublicKey, verify } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { createVirtualClock, type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { bot, send, textChannel, visit } from './visitor.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests read many shapes of JSON
type Fields = Record<string, any>

interface Arrived {
  readonly body: Fields
  readonly genuine: boolean
}

/** An app's endpoint: checks the signature as Discord asks, and answers with `answer`. */
async function app(simulator: Simulator, answer: (interaction: Fields) => unknown) {
  const arrived: Arrived[] = []
  const x = Buffer.from(simulator.publicKey, 'hex').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const signature = Buffer.from(String(request.headers['x-signature-ed25519']), 'hex')
    const message = Buffer.from(`${request.headers['x-signature-timestamp']}${text}`)
    const body = JSON.parse(text)
    arrived.push({ body, genuine: verify(null, message, key, signature) })
    const value = answer(body)
    response.writeHead(value === undefined ? 202 : 200, { 'content-type': 'application/json' })
    response.end(value === undefined ? '' : JSON.stringify(value))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/interactions`, arrived, [Symbol.asyncDispose]: close }
}

describe('an interaction', () => {
  it('arrives signed and whole, and the answer writes a message', async () => {
    await using simulator = await startSimulator()
    await using endpoint = await app(simulator, () => ({ type: 4, data: { content: 'pong' } }))
    const guild = simulator.guilds[0]!
    const user = simulator.users.find(({ guilds }) => guilds.some(({ id }) => id === guild.id))!
    const data = { id: '1', name: 'ping', type: 1 }
    const answered = await simulator.interact(endpoint.url, { data, guild_id: guild.id, user: user.id })
    expect(answered).toEqual({ status: 200, body: { type: 4, data: { content: 'pong' } } })
    const [{ body, genuine }] = endpoint.arrived as [Arrived]
    expect(genuine).toBe(true)
    expect(body).toMatchObject({
      application_id: simulator.clientId,
      type: 2,
      version: 1,
      data,
      guild_id: guild.id,
      channel_id: guild.channels[0]!.id,
      member: { user: { id: user.id }, permissions: expect.stringMatching(/^\d+$/) },
      token: expect.stringMatching(/^\w{64}$/),
    })
    const { json } = await visit(simulator, `/channels/${guild.channels[0]!.id}/messages`, { as: bot(simulator) })
    expect(json).toMatchObject([{ content: 'pong', application_id: simulator.clientId }])
    const original = `/webhooks/${simulator.clientId}/${body.token}/messages/@original`
    expect((await visit(simulator, original)).json.content).toBe('pong')
    const edited = await visit(simulator, original, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: '{"content":"edited"}',
    })
    expect(edited.json.content).toBe('edited')
    expect(JSON.stringify(simulator.calls)).not.toContain(body.token)
  })

  it('can be answered over REST, once, and followed up until its token is 15 minutes old', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    await using endpoint = await app(simulator, () => undefined)
    expect(
      (await simulator.interact(endpoint.url, { type: 3, data: { custom_id: 'b', component_type: 2 } })).status,
    ).toBe(202)
    const { id, token, user } = endpoint.arrived[0]!.body
    expect(user.id).toBe(simulator.users[0]!.id)
    const channel_id = textChannel(simulator)
    await simulator.interact(endpoint.url, { channel_id })
    const second = endpoint.arrived[1]!.body
    const callback = (which: { id: string; token: string }, body: unknown) =>
      send(simulator, 'POST', `/interactions/${which.id}/${which.token}/callback`, body)
    expect((await callback({ id, token }, { type: 6 })).status).toBe(204)
    expect((await callback({ id, token }, { type: 6 })).json.code).toBe(40060)
    expect((await callback({ id: '1', token }, { type: 6 })).json.code).toBe(10062)
    expect((await callback(second as never, { type: 99 })).json.code).toBe(50035)
    expect((await callback(second as never, { type: 5 })).status).toBe(204)
    const hook = `/webhooks/${simulator.clientId}/${second.token}`
    const late = await send(simulator, 'PATCH', `${hook}/messages/@original`, { content: 'later' })
    expect(late.json).toMatchObject({ content: 'later', channel_id })
    const more = await send(simulator, 'POST', hook, { content: 'more', flags: 64 })
    expect(more.json).toMatchObject({ content: 'more', flags: 64 })
    await clock.advance(1000)
    const listed = await visit(simulator, `/channels/${channel_id}/messages`, { as: bot(simulator) })
    expect(listed.json.map(({ content }: { content: string }) => content)).toEqual(['later'])
    await clock.advance(900_000)
    const expired = await send(simulator, 'POST', hook, { content: 'too late' })
    expect([expired.status, expired.json.code]).toEqual([401, 50027])
  })

  it('resolves to status 0 where nobody answers, and refuses what it could not send', async () => {
    await using simulator = await startSimulator()
    expect(await simulator.interact('http://127.0.0.1:1/', {})).toEqual({ status: 0, body: undefined })
    await expect(simulator.interact('nonsense', {})).rejects.toThrow(TypeError)
    await expect(simulator.interact('http://127.0.0.1:1/', 5 as never)).rejects.toThrow(/must be an object/)
  })
})
