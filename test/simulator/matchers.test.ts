import { describe, expect, it } from 'vitest'
import { type DiscordMatchers, matchers } from '../../src/simulator/matchers.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, send, textChannel, visit } from './visitor.ts'

expect.extend(matchers)
declare module 'vitest' {
  interface Matchers<R extends void | Promise<void>, T> extends DiscordMatchers<R> {}
}

describe('the matchers', () => {
  it('find a call by method, route, query and part of its body', async () => {
    await using simulator = await startSimulator()
    const channel = textChannel(simulator)
    const embeds = [{ title: 'One', color: 5 }]
    await send(simulator, 'POST', `/channels/${channel}/messages`, { content: 'hi', embeds, nonce: '1' })
    await visit(simulator, '/users/@me/guilds?limit=5&after=1', { as: bearer(simulator) })
    expect(simulator).toHaveReceived('POST', '/channels/:id/messages')
    expect(simulator).toHaveReceived('POST', '/channels/:id/messages', { content: 'hi' })
    expect(simulator).toHaveReceived('POST', `/channels/${channel}/messages`, { embeds })
    expect(simulator).toHaveReceived('post', '/api/v10/channels/{channel.id}/messages', { content: /^h/ })
    expect(simulator).toHaveReceived('POST', '/channels/:id/messages', { content: expect.stringContaining('h') })
    expect(simulator.calls).toHaveReceived('GET', '/users/@me/guilds?after=1')
    expect(simulator).toHaveReceivedTimes(1, 'GET', '/users/@me/guilds')
    expect(simulator).toHaveStayedWithinLimits()
    expect(simulator).not.toHaveReceived('POST', '/channels/:id/messages', { content: 'ho' })
    expect(simulator).not.toHaveReceived('POST', '/channels/1/messages')
    expect(simulator).not.toHaveReceived('GET', '/channels/:id/messages')
    expect(simulator).not.toHaveReceived('GET', '/users/@me')
    expect(simulator).not.toHaveReceived('GET', '/users/@me/guilds?after=2')
    expect(simulator).not.toHaveReceived('POST', '/channels/:id/messages', { embeds: [{ title: 'One' }, {}] })
    await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect(simulator).not.toHaveStayedWithinLimits()
  })

  it('say what came instead', async () => {
    await using simulator = await startSimulator()
    const failure = (work: () => void): string => {
      try {
        work()
      } catch (error) {
        return String(error)
      }
      return 'it passed'
    }
    expect(failure(() => expect(simulator).toHaveReceived('GET', '/users/@me'))).toContain('nothing')
    await visit(simulator, '/users/@me', { as: bearer(simulator) })
    expect(failure(() => expect(simulator).toHaveReceived('GET', '/users/@me/guilds'))).toContain(
      'GET /users/@me → 200',
    )
    expect(failure(() => expect(simulator).toHaveReceivedTimes(2, 'GET', '/users/@me'))).toContain('it did 1 times')
    expect(failure(() => expect(simulator).toHaveReceived('GET', 'users/@me'))).toContain('a route begins with /')
    expect(failure(() => expect(5).toHaveReceived('GET', '/users/@me'))).toContain('for a simulator')
  })
})
