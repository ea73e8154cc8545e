import { type Environment, refused } from './settings.ts'

/** What two databases say differently. SQLite's is also that of libsql and what else speaks it. */
export type SqlKind = 'sqlite' | 'postgres'

/** A checked `database`. `user`: a Kysely instance of the user's own, which stays theirs to close. */
export type DatabaseConfig =
  | { readonly kind: 'sqlite' /** A file, or `:memory:`. */; readonly path: string }
  | { readonly kind: 'postgres'; readonly url: string }
  | { readonly kind: 'user'; readonly sqlKind: SqlKind; readonly kysely: object }

const ACCEPTED =
  'sqlite:PATH, sqlite::memory:, a postgres:// URL, or a Kysely instance for PostgreSQL or SQLite (libsql too)'

/** Checks option `database` or DATABASE_URL; undefined where neither is given. Throws ConfigError; never shows a URL, which may hold a password. */
export function readDatabase(option: unknown, environment: Environment = process.env): DatabaseConfig | undefined {
  const given: unknown = option ?? environment.DATABASE_URL
  if (given === undefined) return undefined
  const refuse = (accepted = ACCEPTED) =>
    refused(option === undefined ? 'DATABASE_URL' : 'database', given, accepted, true)
  if (typeof given === 'object' && given !== null) {
    const sqlKind = sqlKindOf(given)
    if (!sqlKind) throw refuse()
    return { kind: 'user', sqlKind, kysely: given }
  }
  const text = typeof given === 'string' ? given.trim() : ''
  // `sqlite:///var/app.db` is how other tools write `sqlite:/var/app.db`.
  const [, path] = /^sqlite:(?:\/\/)?(.+)$/.exec(text) ?? []
  if (path !== undefined && !path.includes('\u0000')) return { kind: 'sqlite', path }
  if (/^postgres(ql)?:\/\//.test(text) && URL.canParse(text)) return { kind: 'postgres', url: text }
  throw refuse()
}

interface KyselyLike {
  selectFrom(table: string): { select(column: string): { where(...words: unknown[]): { compile(): { sql: string } } } }
  transaction(): unknown
  getExecutor(): unknown
}

/** Which SQL a Kysely instance writes, seen in what it compiles: the classes may be those of another copy of Kysely. */
function sqlKindOf(given: object): SqlKind | undefined {
  const { selectFrom, transaction, getExecutor } = given as Partial<KyselyLike>
  if (![selectFrom, transaction, getExecutor].every((method) => typeof method === 'function')) return undefined
  const { sql } = (given as KyselyLike).selectFrom('t').select('c').where('c', '=', 1).compile()
  if (/"c" = \$1$/.test(sql)) return 'postgres'
  return /"c" = \?$/.test(sql) ? 'sqlite' : undefined
}
