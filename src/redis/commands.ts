import type { Milliseconds } from '../time/clock.ts'
import type { RedisArgument } from './link.ts'
import type { Script } from './script.ts'

/** What can be asked of Redis. */
export interface Redis {
  /** The values under keys of one slot. */
  read(keys: readonly string[]): Promise<Array<Buffer | null>>
  /** Runs a script; strings and integers come back. */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
    timeoutMs?: Milliseconds,
  ): Promise<unknown>
  publish(channel: string, message: Buffer | string): Promise<unknown>
}
