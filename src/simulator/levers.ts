import { type Answer, json, noContent } from './answer.ts'
import type { Incoming } from './exchange.ts'
import type { FaultKind, FaultOptions } from './fault-options.ts'
import type { Faults } from './faults.ts'
import type { LedgerOfCalls } from './ledger-of-calls.ts'
import { leversPage } from './levers-page.ts'
import type { Simulator } from './simulator-face.ts'
import type { Standing } from './standings.ts'

/** What the levers move; the same as in the process, over HTTP. */
export interface Moved {
  readonly simulator: Simulator
  readonly faults: Faults
  readonly ledger: LedgerOfCalls
  readonly standings: () => readonly Standing[]
  readonly now: () => number
  /** Throws for somebody who is not there. */
  readonly checkMember: (userId: string) => void
}

export const LEVERS = '/_simulator'
const MOST_CALLS = 1000

/** Levers for tests in other processes and languages: JSON under `/_simulator`, and a page at `/`. */
export function createLevers(moved: Moved): (incoming: Incoming) => Answer | Promise<Answer> | undefined {
  const { simulator, faults, ledger, standings, now, checkMember } = moved

  const shownFaults = () => faults.active(now()).map(({ id, kind, options }) => ({ id, fault: kind, ...options }))

  const levers: Readonly<Record<string, (input: Input, query: URLSearchParams) => unknown>> = {
    'GET /': () => ({
      url: simulator.url,
      clientId: simulator.clientId,
      clientSecret: simulator.clientSecret,
      publicKey: simulator.publicKey,
      botId: simulator.botId,
      botToken: simulator.botToken,
      users: simulator.users
        .slice(0, MOST_CALLS)
        .map(({ id, username, accessToken }) => ({ id, username, accessToken })),
      faults: shownFaults(),
      calls: ledger.total,
    }),
    'GET /users': () =>
      simulator.users
        .slice(0, MOST_CALLS)
        .map(({ id, username, accessToken, guilds }) => ({ id, username, accessToken, guilds })),
    'GET /guilds': () => simulator.guilds,
    'GET /limits': () => standings(),
    'GET /world': () => simulator.save(),
    'GET /calls': (_input, query) => {
      const since = numberIn(query, 'since', 0)
      const first = ledger.total - ledger.calls.length
      const calls = ledger.calls.slice(Math.max(0, since - first))
      return { total: ledger.total, calls: calls.slice(-MOST_CALLS) }
    },
    'DELETE /calls': () => ledger.clear(),
    'GET /faults': shownFaults,
    'POST /faults': (input) => {
      const { fault, ...options } = input
      if (options.userId !== undefined) checkMember(textIn(input, 'userId'))
      // Both are checked where they are used.
      const { id } = faults.start(fault as FaultKind, options as FaultOptions, now())
      return { id }
    },
    'DELETE /faults': () => faults.stopAll(),
    'POST /next-login': (input) => simulator.nextLogin(textIn(input, 'user')),
    'POST /revoke': (input) => simulator.revoke(textIn(input, 'userId')),
    'POST /deauthorize': async (input) => ({
      status: await simulator.deauthorize(
        textIn(input, 'userId'),
        input.webhookUrl === undefined ? undefined : textIn(input, 'webhookUrl'),
      ),
    }),
    'POST /join': (input) => {
      const { userId: _, ...guild } = input
      // Checked by joinGuild, field by field.
      simulator.joinGuild(textIn(input, 'userId'), guild.guild as Parameters<Simulator['joinGuild']>[1])
    },
    'POST /leave': (input) => simulator.leaveGuild(textIn(input, 'userId'), textIn(input, 'guildId')),
    'POST /tokens': (input) => {
      const { userId: _, ...options } = input
      return { accessToken: simulator.issueToken(textIn(input, 'userId'), options) }
    },
    'POST /interact': (input) => {
      const { interaction } = input
      if (interaction === null || typeof interaction !== 'object')
        throw new TypeError('interaction must be an object, such as { "type": 2, "data": { "name": "ping" } }')
      return simulator.interact(textIn(input, 'url'), interaction)
    },
  }

  const answered = (value: unknown): Answer => (value === undefined ? noContent : json(200, value))
  const failed = (error: unknown): Answer =>
    json(400, { message: error instanceof Error ? error.message : String(error) })

  return (incoming) => {
    const { method, path } = incoming
    if (path === '/' && (method === 'GET' || method === 'HEAD')) return leversPage(simulator)
    if (path !== LEVERS && !path.startsWith(`${LEVERS}/`)) return undefined
    // A page of another origin cannot send this header without asking first, and it is never told yes.
    if (isForeign(incoming)) return json(403, { message: 'the levers are for programs and for the page at / alone' })
    const name = `${method} ${path.slice(LEVERS.length) || '/'}`
    const one = /^DELETE \/faults\/(\d+)$/.exec(name)?.[1]
    if (one !== undefined) {
      const handle = faults.active(now()).find(({ id }) => id === one)
      handle?.stop()
      return handle ? noContent : json(404, { message: `no fault ${one} is on` })
    }
    const lever = Object.hasOwn(levers, name) ? levers[name] : undefined
    if (!lever)
      return json(404, { message: `no lever ${name}; there are ${Object.keys(levers).join(', ')}, DELETE /faults/:id` })
    try {
      const moved = lever(inputOf(incoming), new URLSearchParams(incoming.query))
      return moved instanceof Promise ? moved.then(answered, failed) : answered(moved)
    } catch (error) {
      return failed(error)
    }
  }
}

type Input = Readonly<Record<string, unknown>>

function inputOf({ method, body }: Incoming): Input {
  if (method === 'GET' || method === 'DELETE') return {}
  if (body === null) throw new TypeError('the body is too long')
  let value: unknown
  try {
    value = JSON.parse(body.toString() || '{}')
  } catch {
    throw new TypeError('the body must be JSON')
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new TypeError('the body must be a JSON object')
  return value as Input
}

function textIn(input: Input, name: string): string {
  const value = input[name]
  if (typeof value === 'string' && value !== '') return value
  throw new TypeError(`${name} must be a text, not ${JSON.stringify(value) ?? 'missing'}`)
}

function numberIn(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name)
  if (text === null) return fallback
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new TypeError(`${name} must be a whole number, 0 or more, not ${JSON.stringify(text)}`)
}

/** Whether a browser sent this for a page that is not the simulator's own. */
function isForeign({ headers }: Incoming): boolean {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  return origin !== undefined && origin !== `http://${host}`
}
