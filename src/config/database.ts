import { type Environment, refused } from './settings.ts'

/** A checked `database`. */
export type DatabaseConfig =
  | { readonly kind: 'sqlite' /** A file, or `:memory:`. */; readonly path: string }
  | { readonly kind: 'postgres'; readonly url: string }

/** Checks option `database` or DATABASE_URL; undefined where neither is given. Throws ConfigError; never shows a URL, which may hold a password. */
export function readDatabase(
  option: string | undefined,
  environment: Environment = process.env,
): DatabaseConfig | undefined {
  const given: unknown = option ?? environment.DATABASE_URL
  if (given === undefined) return undefined
  const text = typeof given === 'string' ? given.trim() : ''
  const [, path] = /^sqlite:(.+)$/.exec(text) ?? []
  if (path !== undefined) return { kind: 'sqlite', path }
  if (/^postgres(ql)?:/.test(text) && URL.canParse(text)) return { kind: 'postgres', url: text }
  throw refused(
    option === undefined ? 'DATABASE_URL' : 'database',
    given,
    'sqlite:PATH, sqlite::memory: or a postgres:// URL',
    true,
  )
}
