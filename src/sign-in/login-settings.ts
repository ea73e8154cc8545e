import { LOGIN_DEFAULTS, type LoginOptions } from '../config/login.ts'
import { ConfigError } from '../errors/errors.ts'
import type { Milliseconds } from '../time/clock.ts'

/** What of the instance's configuration the login reads. */
export interface LoginConfig {
  readonly baseUrl: URL
  readonly clientId: string | undefined
  readonly clientSecret: string | undefined
  readonly publicKey: string | undefined
  readonly publicUrl: string | undefined
  readonly login: LoginOptions
}

/** The login's configuration, checked. */
export interface LoginSettings {
  readonly clientId: string
  readonly clientSecret: string
  readonly publicKey: string | undefined
  /** Where users reach the app; without a slash at its end. The only source of the origin. */
  readonly publicUrl: string
  readonly origin: string
  /** Path of `publicUrl`, '' where it has none. A proxy may cut it off before requests arrive. */
  readonly publicPath: string
  /** Over http, which browsers trust on this machine alone, there are no `__Host-` cookies. */
  readonly secure: boolean
  /** Where Discord's API is, and where it asks users. */
  readonly apiUrl: string
  readonly authorizeUrl: string
  readonly scopes: readonly string[]
  readonly idleMs: Milliseconds
  readonly absoluteMs: Milliseconds
  readonly basePath: string
}

const THIS_MACHINE = /^(localhost|[^.]+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** Whether a login is configured: whether requests can have its sessions at all. */
export function hasLogin(config: LoginConfig): boolean {
  return config.clientId !== undefined && config.clientSecret !== undefined && config.publicUrl !== undefined
}

/** Checks what the login needs. Throws ConfigError for the first that is missing or cannot be used. */
export function readLoginSettings(config: LoginConfig): LoginSettings {
  const publicUrl = needed('publicUrl', config.publicUrl, 'HOLDFAST_PUBLIC_URL, where users reach the app')
  const clientId = needed('discord.clientId', config.clientId, 'DISCORD_CLIENT_ID, the id of the application')
  const clientSecret = needed('discord.clientSecret', config.clientSecret, 'DISCORD_CLIENT_SECRET, its secret')
  const url = new URL(publicUrl)
  const secure = url.protocol === 'https:'
  if (!secure && !THIS_MACHINE.test(url.hostname))
    throw new ConfigError(
      'publicUrl',
      `login: publicUrl (HOLDFAST_PUBLIC_URL) is http and not on this machine (${url.origin}); its cookies and codes could be read on the way: serve the app by https`,
    )
  const {
    scopes = LOGIN_DEFAULTS.scopes,
    idleMs = LOGIN_DEFAULTS.idleMs,
    absoluteMs = LOGIN_DEFAULTS.absoluteMs,
  } = config.login
  const apiUrl = config.baseUrl.href.replace(/\/$/, '')
  return {
    clientId,
    clientSecret,
    publicKey: config.publicKey,
    publicUrl,
    origin: url.origin,
    publicPath: url.pathname.replace(/\/$/, ''),
    secure,
    apiUrl,
    // Discord's own page is not below the API.
    authorizeUrl: /(^|\.)discord\.com$/.test(config.baseUrl.hostname)
      ? `${config.baseUrl.origin}/oauth2/authorize`
      : `${apiUrl}/oauth2/authorize`,
    scopes: withIdentify(scopes),
    idleMs: Math.min(idleMs, absoluteMs),
    absoluteMs,
    basePath: config.login.basePath ?? LOGIN_DEFAULTS.basePath,
  }
}

/** Without `identify` nobody could tell who signed in. */
export function withIdentify(scopes: readonly string[]): readonly string[] {
  return [...new Set(['identify', ...scopes])]
}

function needed(option: string, value: string | undefined, what: string): string {
  if (value !== undefined) return value
  throw new ConfigError(option, `login needs ${what}: set it, or option ${option}`)
}
