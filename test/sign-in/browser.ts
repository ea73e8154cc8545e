import { parseSetCookie } from 'cookie'

/** A site as a test reaches it: whatever answers a request. */
export type Site = (request: Request) => Promise<Response>

/** A browser with one window: it keeps cookies for one site, sends Origin as browsers do, and follows where told to. */
export class Browser {
  readonly cookies = new Map<string, string>()
  /** Every address it went to, and everything that was sent to it. */
  readonly seen: string[] = []
  readonly #site: Site
  readonly #origin: string

  constructor(site: Site, origin: string) {
    this.#site = site
    this.#origin = origin
  }

  /** One request to the site. */
  async send(path: string, init: RequestInit & { cookies?: boolean } = {}): Promise<Response> {
    const headers = new Headers({ accept: 'text/html', ...(init.headers as Record<string, string>) })
    if (this.cookies.size > 0 && init.cookies !== false)
      headers.set('cookie', [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '))
    if (init.method === 'POST' && !headers.has('origin')) headers.set('origin', this.#origin)
    const url = new URL(path, this.#origin)
    const response = await this.#site(new Request(url, { ...init, headers, redirect: 'manual' }))
    this.keep(response)
    this.seen.push(url.href, JSON.stringify([...response.headers]))
    return response
  }

  /** Keeps the cookies of an answer, as a browser does. */
  keep(response: Response): void {
    for (const line of response.headers.getSetCookie()) {
      const { name, value = '', maxAge } = parseSetCookie(line)
      if (maxAge === 0) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
  }

  /** Goes to Discord, where `nextLogin` says who signs in, and comes back with the address of the callback. */
  async consent(begun: Response): Promise<string> {
    const answer = await fetch(begun.headers.get('location')!, { redirect: 'manual' })
    const back = answer.headers.get('location')
    if (back === null) throw new Error(`Discord did not send the browser back: ${answer.status} ${await answer.text()}`)
    return back
  }

  /** The whole way. */
  async signIn(returnTo?: string, basePath = '/auth'): Promise<Response> {
    const query = returnTo === undefined ? '' : `?returnTo=${encodeURIComponent(returnTo)}`
    return this.send(await this.consent(await this.send(`${basePath}/discord${query}`)))
  }
}
