import http from 'node:http'
import https from 'node:https'
import { createRequire, syncBuiltinESMExports } from 'node:module'

const DISCORD = /^(?:(?:canary|ptb)\.)?discord(?:app)?\.com$|^(?:cdn|media)\.discordapp\.(?:com|net)$/i
/** Where undici keeps the dispatcher of everybody who names none: up to version 7 and Node's own, and from 8 on. */
const DISPATCHERS = [Symbol.for('undici.globalDispatcher.1'), Symbol.for('undici.globalDispatcher.2')]

/** What undici asks of a dispatcher, as far as it is needed to send a request elsewhere. */
interface Dispatcher {
  dispatch(options: { origin?: string | URL }, handler: unknown): boolean
}
type Globals = Record<symbol, Dispatcher | undefined>

/**
 * Sends what this process asks of discord.com (also ptb, canary, and the CDN) to `origin`: by `fetch`, by undici's
 * global dispatcher, and by `node:https`. The returned function ends that, in any order with others. Clients that bring
 * a dispatcher of their own are out of reach; they have an option for the address.
 */
export function intercept(origin: string): () => void {
  const target = new URL(origin)
  const ends = [interceptFetch(target), interceptUndici(target), interceptHttps(target)]
  let ended = false
  return () => {
    if (ended) return
    ended = true
    for (const end of ends) end()
  }
}

function isDiscord(hostname: string | null | undefined): boolean {
  return typeof hostname === 'string' && DISCORD.test(hostname.replace(/:\d+$/, ''))
}

function redirected(url: URL, target: URL): URL {
  return new URL(url.pathname + url.search, target)
}

function interceptFetch(target: URL): () => void {
  const before = globalThis.fetch
  let active = true
  const here: typeof fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : String(input))
    if (!active || !isDiscord(url.hostname)) return before(input, init)
    const there = redirected(url, target)
    return before(input instanceof Request ? new Request(there, input) : there, init)
  }
  globalThis.fetch = here
  return () => {
    active = false
    // Somebody may have put their own around it since; then it only passes on.
    if (globalThis.fetch === here) globalThis.fetch = before
  }
}

function interceptUndici(target: URL): () => void {
  const globals = globalThis as unknown as Globals
  // Node's undici and ours put their dispatchers there when they are loaded, and would replace one that was there first.
  globalThis.fetch('data:,').catch(() => {})
  createRequire(import.meta.url)('undici')
  const ends = DISPATCHERS.map((place) => {
    const before = globals[place]
    if (!before) return () => {}
    let active = true
    const here: Dispatcher = Object.create(before, {
      dispatch: {
        value: (options: { origin?: string | URL }, handler: unknown) => {
          const asked = options.origin === undefined ? undefined : new URL(options.origin)
          const there = active && isDiscord(asked?.hostname) ? { ...options, origin: target.origin } : options
          return before.dispatch(there, handler)
        },
      },
    })
    globals[place] = here
    return () => {
      active = false
      if (globals[place] === here) globals[place] = before
    }
  })
  return () => {
    for (const end of ends) end()
  }
}

function interceptHttps(target: URL): () => void {
  const before = { request: https.request, get: https.get }
  let active = true

  const send = (args: unknown[]): http.ClientRequest | undefined => {
    const [first] = args
    const url = typeof first === 'string' ? new URL(first) : first instanceof URL ? first : undefined
    const given = (url ? args[1] : first) as https.RequestOptions | undefined
    const options = given !== null && typeof given === 'object' ? given : {}
    if (!active || !isDiscord(options.hostname ?? options.host ?? url?.hostname)) return undefined
    const callback = args.find((arg): arg is (response: http.IncomingMessage) => void => typeof arg === 'function')
    const { agent: _, host: __, hostname: ___, port: ____, protocol: _____, ...rest } = options
    return http.request(
      {
        path: url ? url.pathname + url.search : '/',
        ...rest,
        agent: false,
        protocol: 'http:',
        host: target.hostname.replace(/^\[|\]$/g, ''),
        port: target.port,
      },
      callback,
    )
  }
  const here = {
    request: (...args: unknown[]) => send(args) ?? Reflect.apply(before.request, https, args),
    get(...args: unknown[]) {
      const sent = send(args)
      if (!sent) return Reflect.apply(before.get, https, args)
      sent.end()
      return sent
    },
  } as typeof before
  https.request = here.request
  https.get = here.get
  syncBuiltinESMExports()
  return () => {
    active = false
    if (https.request === here.request) https.request = before.request
    if (https.get === here.get) https.get = before.get
    syncBuiltinESMExports()
  }
}
