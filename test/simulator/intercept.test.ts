import type http from 'node:http'
import https, { get } from 'node:https'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { bearer } from './visitor.ts'

const URL_ME = 'https://discord.com/api/v10/users/@me'

const read = (send: (done: (response: http.IncomingMessage) => void) => http.ClientRequest) =>
  new Promise<{ status: number; body: string }>((resolve, reject) => {
    send(async (response) => {
      let body = ''
      for await (const chunk of response) body += chunk
      resolve({ status: response.statusCode!, body })
    }).on('error', reject)
  })

describe('intercept', () => {
  it('brings fetch, undici and node:https here, and gives them back', async () => {
    await using simulator = await startSimulator()
    const before = [globalThis.fetch, https.request, https.get]
    const headers = { authorization: bearer(simulator), 'user-agent': 'DiscordBot (x, 1)' }
    const id = simulator.users[0]!.id
    const end = simulator.intercept()
    expect(await (await fetch(URL_ME, { headers })).json()).toMatchObject({ id })
    expect(await (await fetch(new Request(URL_ME, { headers }))).json()).toMatchObject({ id })
    expect(
      await (await fetch(new URL(URL_ME.replace('discord.com', 'canary.discord.com')), { headers })).json(),
    ).toMatchObject({ id })
    expect(await (await request(URL_ME, { headers })).body.json()).toMatchObject({ id })
    const bodies = [
      await read((done) => https.get(URL_ME, { headers }, done)),
      await read((done) => get(new URL(URL_ME), { headers }, done)),
      await read((done) =>
        https
          .request({ hostname: 'discord.com', path: '/api/v10/users/@me', headers, agent: new https.Agent() }, done)
          .end(),
      ),
    ]
    for (const { status, body } of bodies) expect([status, JSON.parse(body).id]).toEqual([200, id])
    const local = await fetch(`${simulator.url}/users/@me`, { headers })
    expect(local.status).toBe(200)
    expect(simulator.calls).toHaveLength(8)
    end()
    end()
    expect([globalThis.fetch, https.request, https.get]).toEqual(before)
  })

  it('is the last one’s, may end in any order, and ends with the simulator', async () => {
    await using one = await startSimulator()
    const two = await startSimulator({ seed: 2 })
    const before = globalThis.fetch
    const endOne = one.intercept()
    const endTwo = two.intercept()
    await fetch(URL_ME)
    expect([one.calls.length, two.calls.length]).toEqual([0, 1])
    endOne()
    await fetch(URL_ME)
    expect(two.calls).toHaveLength(2)
    endTwo()
    const third = one.intercept()
    await two.close()
    await fetch(URL_ME)
    expect(one.calls).toHaveLength(1)
    third()
    two.intercept()
    await two.close()
    globalThis.fetch = before
  })
})
