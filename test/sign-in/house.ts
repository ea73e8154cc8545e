import { createHoldfast, type Holdfast, type HoldfastEvent, type HoldfastOptions } from 'holdfast'
import { createVirtualClock, type Simulator, type SimulatorOptions, startSimulator } from 'holdfast/simulator'
import { Browser, type Site } from './browser.ts'

export const ORIGIN = 'https://dash.example'
export const SECRET = 'a secret that is long enough for everybody here'

export interface House extends AsyncDisposable {
  readonly discord: Simulator
  readonly holdfast: Holdfast
  readonly clock: ReturnType<typeof createVirtualClock>
  readonly events: HoldfastEvent[]
  readonly logged: string[]
  readonly site: Site
  browser(): Browser
  /** Another process of the same app. */
  another(options?: HoldfastOptions): Holdfast
}

/** An app with a login, a simulated Discord, and the time they share. `/me` answers who is signed in. */
export async function openHouse(
  options: HoldfastOptions = {},
  simulated: SimulatorOptions = {},
  origin = new URL(options.publicUrl ?? ORIGIN).origin,
): Promise<House> {
  const clock = createVirtualClock()
  const discord = await startSimulator({ users: 5, clock, ...simulated })
  const events: HoldfastEvent[] = []
  const logged: string[] = []
  const open: Holdfast[] = []
  const log = (fields: object, message: string) => void logged.push(`${message} ${JSON.stringify(fields)}`)
  const another = (more: HoldfastOptions = {}) => {
    const made = createHoldfast({
      publicUrl: ORIGIN,
      secret: SECRET,
      clock,
      logger: { debug: log, info: log, warn: log, error: log },
      ...options,
      ...more,
      discord: {
        baseUrl: discord.url,
        clientId: discord.clientId,
        clientSecret: discord.clientSecret,
        publicKey: discord.publicKey,
        ...options.discord,
        ...more.discord,
      },
    })
    made.on((event) => events.push(event))
    open.push(made)
    return made
  }
  const holdfast = another()
  const site = siteOf(holdfast)
  return {
    discord,
    holdfast,
    clock,
    events,
    logged,
    site,
    browser: () => new Browser(site, origin),
    another,
    [Symbol.asyncDispose]: async () => {
      for (const made of open) await made.close()
      await discord.close()
    },
  }
}

/** The login's routes, and `/me` beside them. */
export function siteOf(holdfast: Holdfast): Site {
  const me = holdfast.withAuth((_request, { user, stale, guilds }) =>
    Response.json({ id: user.id, stale, guilds: guilds.size }),
  )
  return async (request) => (await holdfast.login.handle(request)) ?? me(request)
}
