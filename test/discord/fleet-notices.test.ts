import { expect, test } from 'vitest'
import { DiscordClient } from '../../src/discord/discord-fetch.ts'
import type { Fleet, FleetNews, Notice } from '../../src/discord/fleet.ts'
import { Events } from '../../src/events/events.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { answeringDispatcher, failureOf } from './scripted-discord.ts'

// What processes make of each other's notices, without a Redis between them: in virtual time.

const MINUTE = 60_000
const UNAUTHORIZED = [401, { message: '401: Unauthorized', code: 0 }] as const

/** Two processes on one Discord; what one says, the other hears at once. */
function openPair(answer: Parameters<typeof answeringDispatcher>[0]) {
  const clock = createVirtualClock()
  const { asked, dispatcher } = answeringDispatcher(answer)
  const heard: Array<FleetNews | undefined> = []
  const said: Notice[] = []
  const client = (me: number) => {
    const others = () => heard.filter((_, index) => index !== me)
    const fleet: Fleet = {
      listen: (news) => {
        heard[me] = news
      },
      announce: (notice, forMs) => {
        said.push(notice)
        for (const news of others()) news?.noticed(notice, forMs)
      },
      announceEgressFree: (agoMs, route) => {
        for (const news of others()) news?.egressFree(agoMs, route)
      },
      invalidSent: () => {},
    }
    return new DiscordClient({
      baseUrl: new URL('https://discord.test/api/v10'),
      userAgent: 'test',
      timeoutMs: 10_000,
      clock,
      random: () => 0,
      events: new Events(clock),
      maxRetries: 0,
      retryDelayMs: 1000,
      maxWaitMs: 0,
      retryOn: 'rate-limit',
      dispatcher,
      fleet,
    })
  }
  return { clock, asked, said, a: client(0), b: client(1) }
}

test('a dead token that one of them tried again, and Discord accepted, lives for all', async () => {
  let dead = true
  const { clock, asked, said, a, b } = openPair(() => (dead ? UNAUTHORIZED : [200, { id: '1' }]))
  await failureOf(a.getCurrentUser('abc'))
  expect(await failureOf(b.fetch('/x', 'abc'))).toMatchObject({ status: 401, attempts: 0 })
  dead = false
  await clock.advance(10 * MINUTE)
  await a.getCurrentUser('abc')
  expect(said.at(-1)).toMatchObject({ about: 'token-lives' })
  expect(await b.fetch('/x', 'abc')).toEqual({ id: '1' })
  expect(asked).toHaveLength(3)
})

test('a dead token that Discord issued again lives for all, before anybody has tried it', async () => {
  let dead = true
  const { said, a, b } = openPair(() => (dead ? UNAUTHORIZED : [200, { id: '1' }]))
  await failureOf(a.getCurrentUser('abc'))
  dead = false
  b.tokenIssued('abc')
  expect(await a.fetch('/x', 'abc')).toEqual({ id: '1' })
  b.tokenIssued('never seen')
  expect(said.filter(({ about }) => about === 'token-lives')).toHaveLength(1)
})

test('a block that an operator lifted holds nobody any longer', async () => {
  let blocked = true
  const { a, b } = openPair(() => (blocked ? [429, {}, { 'retry-after': '3600' }] : [200, { id: '1' }]))
  await failureOf(a.getCurrentUser('abc'))
  expect(await failureOf(b.getCurrentUser('abc'))).toMatchObject({ local: true, scope: 'egress' })
  blocked = false
  b.liftBlock()
  expect(await a.getCurrentUser('abc')).toEqual({ id: '1' })
  expect(await b.getCurrentUser('abc')).toEqual({ id: '1' })
})
