import { createHoldfast, type HoldfastEvent, type HoldfastOptions } from 'holdfast'
import nock from 'nock'
import type { OnGivingUp } from '../../src/discord/waiters.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

export { type Failure, failureOf, watched } from './outcomes.ts'

export const ORIGIN = 'https://discord.test'

/** A Discord whose answers the test writes, an instance that asks it, and the time they share. No jitter. */
export function scriptedDiscord(discord: HoldfastOptions['discord'] = {}) {
  const clock = createVirtualClock()
  const holdfast = createHoldfast({ clock, random: () => 0, discord: { baseUrl: `${ORIGIN}/api/v10`, ...discord } })
  const events: HoldfastEvent[] = []
  holdfast.on((event) => events.push(event))
  return {
    clock,
    holdfast,
    events,
    /** Answers to one path, one after the other. */
    answers: (path: string, ...answers: ReadonlyArray<readonly [number, unknown?, Record<string, string>?]>) => {
      for (const [status, body, headers] of answers)
        nock(ORIGIN)
          .get(`/api/v10${path}`)
          .reply(status, body as never, headers)
    },
    /** What happens once everything that is under way at this moment has run. */
    settle: () => clock.advance(0),
    /** When calls were sent, in virtual milliseconds from the start, by route and status. */
    sent: () => events.flatMap((event) => (event.type === 'discord.call' ? [event.at - Date.UTC(2026, 0, 1)] : [])),
  }
}

/** Answers everything with what `answer` says, and remembers what it was asked. */
export function anyAnswer(
  answer: (request: {
    token: string
    path: string
    count: number
  }) =>
    | readonly [number, unknown, Record<string, string>?]
    | Promise<readonly [number, unknown, Record<string, string>?]>,
) {
  const asked: Array<{ token: string; path: string }> = []
  nock(ORIGIN)
    .persist()
    .get(/.*/)
    .reply((async (sent: Request) => {
      const token = sent.headers.get('authorization') ?? ''
      const request = { token, path: sent.url.replace(`${ORIGIN}/api/v10`, '') }
      asked.push(request)
      return await answer({ ...request, count: asked.length })
    }) as never)
  return asked
}

export const LIMITED = (retryAfter: number, more: object = {}) => ({
  message: 'You are being rate limited.',
  retry_after: retryAfter,
  global: false,
  ...more,
})
export const HEADERS = (limit: number, remaining: number, resetAfter: number, bucket = 'b1') => ({
  'x-ratelimit-limit': String(limit),
  'x-ratelimit-remaining': String(remaining),
  'x-ratelimit-reset-after': String(resetAfter),
  'x-ratelimit-bucket': bucket,
})

/** Answers everything at once with what `answer` says, below the network: for tests of ten thousand calls. */
export function answeringDispatcher(
  answer: (request: {
    token: string
    path: string
    count: number
  }) => readonly [number, unknown, Record<string, string>?],
) {
  const asked: Array<{ token: string; path: string }> = []
  const controller = { abort() {} }
  const dispatch = (
    options: { path: string; headers: Record<string, string> },
    handler: Record<string, (...all: unknown[]) => void>,
  ) => {
    const request = { token: options.headers.authorization ?? '', path: options.path.replace('/api/v10', '') }
    asked.push(request)
    const [status, body, headers] = answer({ ...request, count: asked.length })
    queueMicrotask(() => {
      handler.onRequestStart!(controller, {})
      handler.onResponseStart!(controller, status, { 'content-type': 'application/json', ...headers }, '')
      handler.onResponseData!(controller, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
      handler.onResponseEnd!(controller, {})
    })
    return true
  }
  return { dispatcher: { dispatch }, asked }
}

/** A caller that waits until its signal aborts. */
export const until =
  (signal: AbortSignal): OnGivingUp =>
  (giveUp) => {
    if (signal.aborted) giveUp(signal.reason)
    const abort = () => giveUp(signal.reason)
    signal.addEventListener('abort', abort)
    return () => signal.removeEventListener('abort', abort)
  }
