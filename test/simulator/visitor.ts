import type { Simulator } from 'holdfast/simulator'

export const USER_AGENT = 'DiscordBot (https://example.com, 1.0.0)'

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read many shapes of JSON
  readonly json: any
}

/** One HTTP call to a simulator, wholly read; `as` is a whole Authorization header. */
export async function visit(
  simulator: Simulator,
  path: string,
  { as, ...init }: RequestInit & { as?: string } = {},
): Promise<Answered> {
  const headers = new Headers(init.headers)
  if (!headers.has('user-agent')) headers.set('user-agent', USER_AGENT)
  if (as !== undefined) headers.set('authorization', as)
  const url = path.startsWith('http') ? path : simulator.url + path
  const response = await fetch(url, { redirect: 'manual', ...init, headers })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, headers: response.headers, text, json: isJson && text ? parsed(text) : undefined }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Authorization headers for the nth user and for the bot. */
export const bearer = (simulator: Simulator, nth = 0) => `Bearer ${simulator.users[nth]!.accessToken}`
export const bot = (simulator: Simulator) => `Bot ${simulator.botToken}`

/** The id of the nth text channel of all guilds. */
export function textChannel(simulator: Simulator, nth = 0): string {
  return simulator.guilds.flatMap(({ channels }) => channels.filter(({ type }) => type === 0))[nth]!.id
}

/** A call with a JSON body. */
export const send = (simulator: Simulator, method: string, path: string, body: unknown, as = bot(simulator)) =>
  visit(simulator, path, { as, method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
