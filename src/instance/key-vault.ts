import { aFunction, anObject } from '../config/accepted.ts'
import { type DatabaseConfig, readDatabase } from '../config/database.ts'
import { CLOCK_OPTION, DATABASE_OPTION, SECRET_OPTION } from '../config/holdfast-options.ts'
import { type OptionTable, optionsOf } from '../config/options.ts'
import { secretNeeded } from '../config/secrets.ts'
import { type KeyVault, openVault } from '../quota/key-vault.ts'
import { KeyRing } from '../secrets/key-ring.ts'
import type { Clock } from '../time/clock.ts'
import { Beside } from './beside.ts'
import type { Holdfast } from './holdfast.ts'

/** How a key vault is made. */
export interface KeyVaultOptions {
  /** `sqlite:PATH`, `sqlite::memory:`, `postgres://…` or a Kysely instance. Default: the instance's, else DATABASE_URL, else memory, which ends with the process. */
  database?: string | object
  /** At least 32 bytes each, the newest first: the others are only read with, until `rotate()` has sealed all anew. Default: the instance's, else HOLDFAST_SECRET. */
  secret?: string | readonly string[]
  /** Asks the upstream whose a key is: once for each key that is added without an owner. May take 30 s. */
  ownerOf?: (key: string) => Promise<string>
  /** Shares its clock, secret and database. */
  holdfast?: Holdfast
  clock?: Clock
}

/**
 * Opens a vault, and brings its tables up to date; any number of processes may do so at once. PostgreSQL needs the
 * packages `kysely` and `pg`, SQLite `kysely`. Rejects with ConfigError for options that cannot be used,
 * VAULT_WRONG_SECRET, DATABASE_UNAVAILABLE and DATABASE_FAILED.
 */
export async function createKeyVault(options: KeyVaultOptions = {}): Promise<KeyVault> {
  KEY_VAULT_OPTIONS.check(options)
  const { ownerOf } = options
  const { parts, clock, secrets } = new Beside(options)
  if (secrets.length === 0) throw secretNeeded('a key vault')
  const config = options.database === undefined ? parts?.database : undefined
  const { DatabaseConnection } = await import('../database/connection.ts')
  const { KeyRows } = await import('../database/key-rows.ts')
  const database = await DatabaseConnection.open(config ?? readDatabase(options.database) ?? MEMORY, clock)
  try {
    return await openVault({ store: new KeyRows(database), ring: new KeyRing(secrets), clock, ownerOf })
  } catch (error) {
    await database.close()
    throw error
  }
}

const MEMORY: DatabaseConfig = { kind: 'sqlite', path: ':memory:' }

/** The options of `createKeyVault`. */
export const KEY_VAULT_OPTIONS = optionsOf('createKeyVault', {
  database: DATABASE_OPTION,
  secret: SECRET_OPTION,
  ownerOf: {
    means: 'asks the upstream whose a key is',
    accepts: aFunction('a function that resolves to the owner of a key'),
  },
  holdfast: { means: 'shares its clock, secret and database', accepts: anObject('an instance') },
  clock: CLOCK_OPTION,
} satisfies OptionTable<keyof KeyVaultOptions>)
