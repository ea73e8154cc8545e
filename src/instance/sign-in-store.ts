import { LOGIN_DEFAULTS, type LoginOptions } from '../config/login.ts'
import type { Database } from '../database/database.ts'
import type { RedisRoom } from '../redis/redis.ts'
import { KeyRing } from '../secrets/key-ring.ts'
import type { SignInStore } from '../sign-in/sign-in-store.ts'
import type { Clock } from '../time/clock.ts'

export interface SignInStoreNeeds {
  readonly login: LoginOptions
  readonly secrets: readonly string[]
  readonly clock: Clock
  readonly redis: RedisRoom | undefined
  readonly openDatabase: (() => Promise<Database>) | undefined
}

/**
 * Where the sessions of an instance live: SQL where a database is configured (a Redis that evicts would lose refresh
 * tokens, which are single use), else Redis, else this process.
 */
export async function openSignInStore(needs: SignInStoreNeeds): Promise<SignInStore> {
  const { clock, redis, openDatabase, secrets } = needs
  const { absoluteMs = LOGIN_DEFAULTS.absoluteMs } = needs.login
  if (openDatabase) {
    const { SignInRows } = await import('../database/sign-in-rows.ts')
    return new SignInRows(await openDatabase(), clock, absoluteMs)
  }
  if (redis) {
    const { RedisSignInStore } = await import('../redis/sign-in-store.ts')
    const { connection, naming } = redis
    return new RedisSignInStore({ connection, naming, ring: new KeyRing(secrets), clock, absoluteMs })
  }
  const { MemorySignInStore } = await import('../sign-in/memory-sign-in-store.ts')
  return new MemorySignInStore(clock)
}
