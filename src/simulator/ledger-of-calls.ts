import type { Milliseconds } from '../time/clock.ts'
import type { RateLimitScope } from './answer.ts'
import type { FaultKind } from './fault-options.ts'

/** One call that reached the simulator, written down when the rule book decided about it. */
export interface Call {
  /** The wall clock when the rule book looked at it: milliseconds since the epoch. */
  readonly at: Milliseconds
  readonly method: string
  /** The template, such as `/guilds/:guild`; the path itself (at most 200 characters) where no route is known. */
  readonly route: string
  /** The path as it was asked for, without `/api/v10` and query; tokens in it are masked. */
  readonly path: string
  /** What stood after `?`, as it was sent, at most 2000 characters; codes and secrets are masked. Empty if nothing did. */
  readonly query: string
  /** In lower case; tokens, cookies and secrets are masked. Empty once more than 10 000 later calls were kept. */
  readonly headers: Readonly<Record<string, string>>
  /**
   * What was sent: JSON and forms as values (secrets masked), multipart as the values of `payload_json` with the files
   * beside it as `{ name, filename, contentType, size }`, anything else as text. Bodies are kept for the last 10 000
   * calls, and of those for the last 32 MiB.
   */
  readonly body?: unknown
  /** Whose token, code or refresh token it carried, also when that is no longer valid; the bot's id for its calls. */
  readonly userId: string | null
  /** 0 when no answer was sent (`hang`, `reset`). */
  readonly status: number
  /**
   * The answer is an invalid one (401, 403, or 429 not of scope `shared`), and with it the address was over the
   * invalid-request limit: at this moment Discord would ban, or has banned already.
   */
  readonly wouldBan: boolean
  /** Whose limit a 429 was about; null for other answers, and for bans. */
  readonly scope: RateLimitScope | null
  /** The fault that met this call, if any (those that go together with others only when there was no other). */
  readonly fault: FaultKind | null
}

/** The calls, oldest first, bounded. */
export interface LedgerOfCalls {
  readonly calls: readonly Call[]
  /** How many calls there were in all, also those no longer kept. */
  readonly total: number
  /** `bodyBytes`: how much memory the call's body stands for. */
  write(call: Call, bodyBytes: number): void
  /** Called after each call; the returned function ends that. */
  listen(listener: (call: Call) => void): () => void
  /** Forgets all calls. */
  clear(): void
}

const KEPT_IN_FULL = 10_000
const MAX_BODY_BYTES = 32 * 1024 * 1024
const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

type Mutable = { -readonly [Name in keyof Call]: Call[Name] }

/** Keeps at most `maxCalls`; when full, the oldest tenth is dropped at once, because dropping one costs as much. */
export function createLedgerOfCalls(maxCalls: number): LedgerOfCalls {
  const calls: Mutable[] = []
  const listeners = new Set<(call: Call) => void>()
  // Those kept in full, oldest first: from `first` on.
  let full: Array<{ call: Mutable; bytes: number }> = []
  let first = 0
  let bytes = 0
  let total = 0

  const thin = () => {
    const { call, bytes: freed } = full[first]!
    first++
    bytes -= freed
    call.headers = NO_HEADERS
    delete call.body
    if (first > KEPT_IN_FULL) {
      full = full.slice(first)
      first = 0
    }
  }

  return {
    calls,
    get total() {
      return total
    },
    write(call, bodyBytes) {
      total++
      if (maxCalls > 0) {
        if (calls.length >= maxCalls) calls.splice(0, Math.ceil(maxCalls / 10))
        calls.push(call)
        full.push({ call, bytes: bodyBytes })
        bytes += bodyBytes
        while (full.length - first > KEPT_IN_FULL || (bytes > MAX_BODY_BYTES && full.length - first > 1)) thin()
      }
      for (const listener of listeners) listener(call)
    },
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    clear() {
      calls.length = 0
      full = []
      first = 0
      bytes = 0
    },
  }
}
