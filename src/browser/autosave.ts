import type { ApiClient } from './api-client.ts'
import { ApiError, closedError, retryAtOf, statusOf } from './api-error.ts'
import { checkOptions, refuse } from './check-options.ts'
import { alarm, type Milliseconds, wallNow } from './clock.ts'
import { withDeadline } from './deadline.ts'
import { takeKeepalive } from './keepalive.ts'
import { isHidden, on, tell } from './tabs.ts'

/** What an autosave is about to do, for the page to show. */
export type AutosaveState = {
  /**
   * `idle`: everything is saved. `pending`: a save follows. `saving`: one is under way. `waiting`: `client`'s gate holds it, or
   * it was refused until `retryAt`. `conflict`: refused with 409; nothing is saved until `flush()`. `failed`: it is tried again.
   */
  status: 'idle' | 'pending' | 'saving' | 'waiting' | 'conflict' | 'failed'
  /** Whether anything is not known to be saved; true from the moment of `change()`. */
  unsaved: boolean
  /** When a `waiting` save goes on. */
  retryAt?: Date
  /** What the last save was refused with; while `saving`, `KEEPALIVE_TOO_LARGE` where the page may be gone before it ends. */
  error?: unknown
}

export interface AutosaveOptions<T> {
  /**
   * Saves a value; rejects if it was not saved. `keepalive` is true where the page may be going away: hand it to `fetch`, and
   * call that before any `await`. `signal` aborts when a newer value takes its place or after 60 s.
   */
  save: (value: T, context: { signal: AbortSignal; keepalive: boolean }) => Promise<void>
  /** How long nothing must have changed before an automatic save. Default: 1 200. */
  debounceMs?: Milliseconds
  /** The least between the starts of two automatic saves. Default: 2 500. */
  minIntervalMs?: Milliseconds
  /** Whose gate a save waits for. */
  client?: ApiClient
  /** Called with every new state, before what caused it returns. */
  onState?: (state: AutosaveState) => void
}

/** A value that saves itself; made by `autosave`. */
export interface Autosave<T> {
  /** The newest value. Throws `CLOSED` after `close()`. */
  change(this: void, value: T): void
  /**
   * Saves at once what is unsaved, also after a conflict or a failure. Resolves when that is saved; rejects with what refused
   * it (the value is kept, and tried again). It waits for `client`'s gate, and takes 60 s more at most for each save.
   */
  flush(this: void): Promise<void>
  readonly state: AutosaveState
  /** Saves once more what is unsaved, without waiting for the gate, and lets go of all timers and listeners. Never rejects: `state.unsaved` tells. */
  close(this: void): Promise<void>
}

const DAY_MS: Milliseconds = 86_400_000
/** Between tries where the failure does not say: doubling. */
const BACKOFF_MS: Milliseconds = 1_000
const LONGEST_BACKOFF_MS: Milliseconds = 60_000

/** A value on its way, and who waits for it. */
interface Save<T> {
  readonly value: T
  readonly controller: AbortController
  readonly keepalive: boolean
}

/** Who waits for a save. */
type Waiter = PromiseWithResolvers<void>

/**
 * Saves the newest value some time after it was given. One save is under way at a time; what changes meanwhile follows,
 * the newest only. A failure keeps the newest value and tries again: at `retryAt` where the error carries one, else after
 * 1 s, doubling to a minute, and when the browser is back online. 409 pauses until `flush()`. When the page is hidden the
 * debounce is over; when it goes away the newest value is sent with `keepalive` before anything else happens, in place of
 * the save under way. Throws `CONFIG_INVALID` for senseless options.
 */
export function autosave<T>(options: AutosaveOptions<T>): Autosave<T> {
  const { save, client, onState } = options
  const { debounceMs, minIntervalMs } = checkOptions(
    options,
    { debounceMs: [1_200, 0, DAY_MS], minIntervalMs: [2_500, 0, DAY_MS] },
    { save: 'function', client: 'object', onState: 'function' },
  )
  if (!save) refuse('save must be a function')
  let state: AutosaveState = { status: 'idle', unsaved: false }
  /** The newest value, in a box, unless it is under way. */
  let pending: { readonly value: T } | undefined
  let underWay: Save<T> | undefined
  /** Who waits for `pending`, and who for what is under way. */
  const waiters: Waiter[] = []
  const waitersUnderWay: Waiter[] = []
  /** What must be over before an automatic save; each there while its time runs. */
  const alarms: { debounce?: () => void; interval?: () => void; retry?: () => void } = {}
  let failures = 0
  let error: unknown
  let inConflict = false
  /** Somebody waits for it: `flush()`. */
  let isUrgent = false
  let finish: (() => void) | undefined
  let closed: Promise<void> | undefined

  function update(): void {
    const isHeld = underWay || (pending && !alarms.debounce && !alarms.interval && !alarms.retry)
    const retryAt = (isHeld && client?.waitingUntil) || (underWay ? undefined : retryAtOf(error))
    const status = underWay
      ? retryAt
        ? 'waiting'
        : 'saving'
      : inConflict
        ? 'conflict'
        : retryAt
          ? 'waiting'
          : error !== undefined
            ? 'failed'
            : pending
              ? 'pending'
              : 'idle'
    const unsaved = !!(pending || underWay)
    if (
      status === state.status &&
      unsaved === state.unsaved &&
      Object.is(error, state.error) &&
      retryAt?.getTime() === state.retryAt?.getTime()
    )
      return
    state = { status, unsaved, ...(retryAt && { retryAt }), ...(error !== undefined && { error }) }
    tell(onState, state)
  }

  /** Starts a save if one is due and nothing holds it. */
  function consider(): void {
    const rests = !isUrgent && (inConflict || alarms.retry || alarms.debounce || alarms.interval)
    if (pending && !underWay && !finish && !rests && !client?.waitingUntil) start(false)
    update()
  }

  function start(keepalive: boolean): void {
    const { value } = pending!
    const controller = new AbortController()
    const mine = { value, controller, keepalive }
    cancel('debounce')
    cancel('retry')
    if (!isUrgent && !keepalive) rest('interval', minIntervalMs)
    pending = undefined
    isUrgent = inConflict = false
    underWay = mine
    waitersUnderWay.push(...waiters.splice(0))
    const letGo = keepalive ? takeKeepalive(value) : undefined
    error =
      keepalive && !letGo
        ? new ApiError('too large to be saved while the page closes (64 KiB)', 'KEEPALIVE_TOO_LARGE')
        : undefined
    const context = { signal: controller.signal, keepalive: !!letGo }
    const end = (failure?: { readonly reason: unknown }) => {
      letGo?.()
      // A newer value may have taken its place.
      if (underWay === mine) ended(mine, failure)
    }
    withDeadline(() => save(value, context), controller, client).then(
      () => end(),
      (reason) => end({ reason }),
    )
    update()
  }

  function ended(save: Save<T>, failure: { readonly reason: unknown } | undefined): void {
    underWay = undefined
    const settled = waitersUnderWay.splice(0)
    if (failure) {
      const { reason } = failure
      pending ??= save
      // A rejection with nothing is a failure too.
      error = reason ?? new Error('rejected without a reason')
      inConflict = statusOf(reason) === 409
      const toldMs = +(retryAtOf(reason) ?? 0) - wallNow()
      if (!inConflict) rest('retry', toldMs > 0 ? toldMs : Math.min(BACKOFF_MS * 2 ** failures++, LONGEST_BACKOFF_MS))
    } else {
      error = undefined
      failures = 0
    }
    for (const waiter of settled) failure ? waiter.reject(error) : waiter.resolve()
    // Somebody asked for a value that came after this one.
    isUrgent = !!waiters[0]
    if (finish && pending && !failure) start(false)
    else finish?.()
    consider()
  }

  function rest(why: keyof typeof alarms, ms: Milliseconds): void {
    cancel(why)
    alarms[why] = alarm(ms, () => {
      cancel(why)
      consider()
    })
  }

  function cancel(why: keyof typeof alarms): void {
    alarms[why]?.()
    delete alarms[why]
  }

  function leave(): void {
    if (inConflict || (pending ? false : !underWay || underWay.keepalive)) return
    // The older value must not arrive after this one.
    const older = underWay
    pending ??= underWay
    underWay = undefined
    older?.controller.abort(new ApiError('a newer value is saved instead', 'SUPERSEDED'))
    start(true)
  }

  const ends = [
    client?.onWait(consider),
    on('pagehide', leave),
    on('visibilitychange', () => {
      // It may come to no more than that on a phone; but a wait that was asked for is kept.
      if (isHidden() && !underWay && !alarms.retry && !client?.waitingUntil) leave()
    }),
    on('online', () => {
      // Not what the server has set a time for.
      if (!retryAtOf(error)) cancel('retry')
      consider()
    }),
  ]

  return {
    get state() {
      return state
    },
    change(value) {
      if (closed) throw closedError()
      pending = { value }
      rest('debounce', debounceMs)
      update()
    },
    flush() {
      const waiter = Promise.withResolvers<void>()
      // `state` tells too: who does not wait for it need not catch it.
      waiter.promise.catch(() => {})
      if (pending) {
        isUrgent = true
        waiters.push(waiter)
      } else if (underWay) waitersUnderWay.push(waiter)
      else waiter.resolve()
      consider()
      return waiter.promise
    },
    close() {
      closed ??= new Promise((resolve) => {
        finish = () => {
          for (const end of ends) end?.()
          for (const why of ['debounce', 'interval', 'retry'] as const) cancel(why)
          for (const waiter of waiters.splice(0)) waiter.reject(error ?? closedError())
          resolve()
        }
        if (underWay) return
        if (pending && !inConflict) start(false)
        else finish()
      })
      return closed
    },
  }
}
