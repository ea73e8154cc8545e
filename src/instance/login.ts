import type { DiscordClient } from '../discord/discord-fetch.ts'
import { closedError, type HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { KeyRing } from '../secrets/key-ring.ts'
import type { AuthRequest, Session } from '../sessions/session.ts'
import type { DiscordLogin } from '../sign-in/discord-login.ts'
import type { Login } from '../sign-in/login.ts'
import { hasLogin, type LoginConfig, readLoginSettings } from '../sign-in/login-settings.ts'
import type { SignInStore } from '../sign-in/sign-in-store.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'

export interface InstanceLoginNeeds {
  readonly config: LoginConfig & {
    readonly secrets: readonly string[]
    readonly clock: Clock
    readonly random: () => number
    readonly logger: Logger | undefined
  }
  readonly discord: Pick<DiscordClient, 'postForm' | 'getCurrentUser' | 'tokenIssued'>
  readonly events: Events
  readonly forget: (userId: string) => Promise<void>
  /** Opened with the login, and closed by whoever opens it. */
  readonly store: () => Promise<SignInStore>
}

/** The login of an instance. Its code is loaded at the first call, and only where it is configured. */
export class InstanceLogin implements DiscordLogin {
  readonly #needs: InstanceLoginNeeds
  readonly #configured: boolean
  #opening: Promise<Login> | undefined
  #opened: Login | undefined
  #closed = false

  constructor(needs: InstanceLoginNeeds) {
    this.#needs = needs
    this.#configured = hasLogin(needs.config)
  }

  begin: DiscordLogin['begin'] = async (request, options) => (await this.#open()).begin(request, options)
  callback: DiscordLogin['callback'] = async (request) => (await this.#open()).callback(request)
  logout: DiscordLogin['logout'] = async (request) => (await this.#open()).logout(request)
  disconnect: DiscordLogin['disconnect'] = async (request) => (await this.#open()).disconnect(request)
  session: DiscordLogin['session'] = async (request) => (await this.#open()).session(request)
  endAllSessions: DiscordLogin['endAllSessions'] = async (userId) => (await this.#open()).endAllSessions(userId)
  webhook: DiscordLogin['webhook'] = async (request) => (await this.#open()).webhook(request)
  handle: DiscordLogin['handle'] = async (request, options) => (await this.#open()).handle(request, options)
  accessToken: DiscordLogin['accessToken'] = async (userId) => (await this.#open()).accessToken(userId)

  /** The session of a request's cookie; null without one, and without a login. */
  async resolve(request: AuthRequest, context: { diedToken?: string; signal?: AbortSignal }): Promise<Session | null> {
    // Asked at each request: without a cookie nothing is opened.
    if (!this.#configured || !request.headers.has('cookie')) return null
    return (await this.#open()).session(request, context)
  }

  /** Why a token of ours is not worth sending now. */
  overdue(accessToken: string): HoldfastError | undefined {
    return this.#opened?.overdue(accessToken)
  }

  async close(deadlineMs: Milliseconds): Promise<void> {
    this.#closed = true
    await this.#opened?.close(deadlineMs)
  }

  #open(): Promise<Login> {
    if (this.#opening) return this.#opening
    const opening = this.#make()
    this.#opening = opening
    // What could not be opened now can be later: a database that was away.
    opening.catch(() => {
      this.#opening = undefined
    })
    return opening
  }

  async #make(): Promise<Login> {
    if (this.#closed) throw closedError()
    const { config, discord, events, forget } = this.#needs
    const settings = readLoginSettings(config)
    const { Login } = await import('../sign-in/login.ts')
    const store = await this.#needs.store()
    this.#opened = new Login({
      ...config,
      settings,
      store,
      events,
      forget,
      ring: config.secrets.length > 0 ? new KeyRing(config.secrets) : KeyRing.ephemeral(),
      post: (path, form, signal) => discord.postForm(path, form, signal),
      identify: async (accessToken, signal) => {
        // Signing in anew can give a token that was refused before.
        discord.tokenIssued(accessToken)
        const user = await discord.getCurrentUser(accessToken, { priority: 'login', signal })
        return { id: user.id, username: user.username, globalName: user.global_name, avatar: user.avatar }
      },
    })
    return this.#opened
  }
}
