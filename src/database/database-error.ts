import { HoldfastError } from '../errors/errors.ts'

/** SQLite's result codes that mean: not now. PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN. */
const SQLITE_AWAY = new Set([3, 5, 6, 8, 10, 13, 14])
/** The same as libsql and others name them. */
const SQLITE_AWAY_NAMES = /^SQLITE_(PERM|BUSY|LOCKED|READONLY|IOERR|FULL|CANTOPEN)/
/** PostgreSQL's classes of errors that mean: not now. Connections, resources, shutdown, what is cancelled, and deadlocks. */
const POSTGRES_AWAY = /^(08|53|57|58|25006|25P0[34]|40P01|40001|55P03)/

/** An error of a driver as one of ours: DATABASE_UNAVAILABLE (away, too slow, locked, full) or DATABASE_FAILED. */
export function databaseError(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error
  const { code, errcode, message } = (error ?? {}) as { code?: unknown; errcode?: unknown; message?: unknown }
  const away =
    typeof errcode === 'number'
      ? SQLITE_AWAY.has(errcode & 0xff)
      : typeof code === 'string'
        ? POSTGRES_AWAY.test(code) ||
          SQLITE_AWAY_NAMES.test(code) ||
          /^E[A-Z]+$/.test(code) ||
          code === 'ERR_INVALID_STATE'
        : /connect|terminated|timeout/i.test(String(message))
  if (away) return unavailable(error)
  return new HoldfastError(
    'DATABASE_FAILED',
    `the database refused what it was asked (${typeof code === 'string' ? code : 'no code'}); see \`cause\``,
    { cause: error },
  )
}

export function unavailable(cause: unknown): HoldfastError {
  return new HoldfastError(
    'DATABASE_UNAVAILABLE',
    'the database cannot be used: away, too slow, locked or full; see that it runs, and try again',
    { cause },
  )
}

/** Another connection holds SQLite's lock; it will let go of it. */
export function isBusy(error: unknown): boolean {
  const { errcode, code } = (error ?? {}) as { errcode?: unknown; code?: unknown }
  if (typeof code === 'string' && /^SQLITE_(BUSY|LOCKED)/.test(code)) return true
  // The lower byte of SQLite's extended codes: SQLITE_BUSY, SQLITE_LOCKED.
  return typeof errcode === 'number' && [5, 6].includes(errcode & 0xff)
}

/** What is wrong with SQLite's file itself, so that only opening it anew can help: READONLY, IOERR, CORRUPT, CANTOPEN, NOTADB; or it was closed. */
export function isAboutFile(error: unknown): boolean {
  const cause = error instanceof HoldfastError ? error.cause : error
  const { errcode, code } = (cause ?? {}) as { errcode?: unknown; code?: unknown }
  return typeof errcode === 'number' ? [8, 10, 11, 14, 26].includes(errcode & 0xff) : code === 'ERR_INVALID_STATE'
}
