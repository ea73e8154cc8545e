import { Agent, request } from 'node:http'
import fc from 'fast-check'

/** Which limit guards which path of the apps that are asked. */
export const RULES = {
  '/api/chat': { name: 'chat', limit: 1_000_000, windowMs: 3_600_000 },
  '/dl/*': { name: 'dl', limit: 1_000_000, windowMs: 3_600_000 },
  'POST /api/only-post': { name: 'only-post', limit: 1_000_000, windowMs: 3_600_000 },
} as const

/** What an app answered: which handler ran, and which limits were charged for it. */
export interface Outcome {
  readonly status: number
  readonly ran: string | undefined
  readonly charged: readonly string[]
}

/** Headers of an app's answer that say so. */
export const RAN = 'x-ran'
export const CHARGED = 'x-charged'

/** Ways around a rule that worked once, somewhere. */
export const WALK_AROUNDS: readonly string[] = [
  '/api/chat',
  '/dl/big.bin',
  '/api/only-post',
  '/API/Chat',
  '/api\\chat#',
  'http://h/api\\chat',
  'http://h\\api\\chat',
  'http://h?x/api/chat',
  'http://h#/api/chat',
  'HTTP://h/api/chat',
  '//h/api/chat',
  '//h/../api/chat',
  '///api/chat',
  '/\\h/api/chat',
  '/dl%2fbig.bin',
  '/dl%5cbig.bin',
  '/x/../dl/big.bin',
  '/x/%2e%2e/dl/big.bin',
  '/x%2f..%2fdl/big.bin',
  '/./dl/./big.bin',
  'WS:///dl%2Fbig.bin',
  'http://h%2fdl/big.bin',
  "http://h'/dl/big.bin",
  'http://h;/api/chat',
  'http://u@h/api/chat',
  'http://x\\@h/api/chat',
  '/api/chat;x=1',
  '/api/chat/',
  '/api/chat//',
  '/api//chat',
  '/%61pi/ch%61t',
  '/%2561pi/chat',
  '/api%2fchat',
  '/api/chat%3fx',
  '/api/chat%23x',
  '/api/chat%00',
  '/api/chat%20',
  '/api/chat?x=/../health',
  '/health/../api/chat',
  '/health%2f..%2fapi/chat',
  '/open/..%2f..%2fdl/big.bin',
  '/open/..\\..\\dl\\big.bin',
  '/open//../dl/big.bin',
]

const piece = fc.constantFrom('/', '//', '\\', '%2f', '%5c', '%2F', '/./', '/x/../', '/%2e/', '/x/%2e%2e/', '%252f')
const prefix = fc.constantFrom(
  '',
  '',
  '',
  'http://h',
  'HTTP://h',
  'ws://h',
  '//h',
  'http://h?x',
  'http://h#',
  'http://',
  '/open/..',
  '/.',
  '\\',
)
const suffix = fc.constantFrom(
  '',
  '',
  '',
  '?x',
  '#',
  '#x',
  '/',
  ';x',
  '?x=/../y',
  '%23',
  '%3f',
  '/.',
  '\\',
  '%2f',
  '#/../..',
  '?#',
)
const letter = (character: string) =>
  fc.constantFrom(
    character,
    character,
    character,
    character,
    character.toUpperCase(),
    `%${hex(character)}`,
    `%25${hex(character)}`,
  )
const hex = (character: string) => character.charCodeAt(0).toString(16)
const word = (text: string) => fc.tuple(...[...text].map(letter)).map((letters) => letters.join(''))
const path = (...words: string[]) =>
  fc.tuple(...words.map((text) => fc.tuple(piece, word(text)))).map((parts) => parts.flat().join(''))

/** Request targets around the guarded paths, as only somebody who wants in would write them. */
export const target = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(...WALK_AROUNDS) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(prefix, fc.oneof(path('api', 'chat'), path('dl', 'big.bin'), path('api', 'only-post')), suffix)
      .map((parts) => parts.join('')),
  },
)
export const method = fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'DELETE')
export const headers = fc.constantFrom<Record<string, string>>(
  {},
  { rsc: '1' },
  { 'sec-purpose': 'prefetch' },
  { 'sec-fetch-dest': 'image' },
  { accept: 'text/html', 'sec-fetch-dest': 'document' },
  { 'x-original-url': '/health', 'x-rewrite-url': '/health', 'x-http-method-override': 'GET' },
  { 'x-middleware-subrequest': 'proxy:proxy:proxy:proxy:proxy', 'x-matched-path': '/health' },
)

const agent = new Agent({ keepAlive: true, maxSockets: 8 })

/** Sends a target as it is. Undefined where the server would not even read it. */
export function send(port: number, target: string, method = 'GET', headers = {}): Promise<Outcome | undefined> {
  return new Promise((resolve) => {
    let sent: ReturnType<typeof request>
    try {
      sent = request({ port, host: '127.0.0.1', path: target, method, headers, agent }, (response) => {
        response.resume()
        const [ran, charged] = [RAN, CHARGED].map((name) => response.headers[name])
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            ran: ran === undefined ? undefined : String(ran),
            // An app that cannot say so is believed by the limits on its answer.
            charged:
              charged === undefined
                ? [...String(response.headers['ratelimit-policy']).matchAll(/"([^"]+)";q=/g)].map(([, name]) => name!)
                : String(charged).split(','),
          }),
        )
      })
    } catch {
      return resolve(undefined)
    }
    sent.on('error', () => resolve(undefined))
    sent.end()
  })
}

export const closeAgent = () => agent.destroy()
