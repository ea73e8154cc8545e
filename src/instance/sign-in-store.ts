import type { SignInStore } from '../sign-in/sign-in-store.ts'
import type { Clock } from '../time/clock.ts'

/** Where the sessions of an instance live: SQL where a database is configured, else Redis, else this process. */
export async function openSignInStore({ clock }: { readonly clock: Clock }): Promise<SignInStore> {
  const { MemorySignInStore } = await import('../sign-in/memory-sign-in-store.ts')
  return new MemorySignInStore(clock)
}
