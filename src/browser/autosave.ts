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
   * call that before any `await`. `signal` aborts when a newer value takes its place or after 120 s.
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
   * it (the value is kept, and tried again). It waits for `client`'s gate, and takes 120 s more at most for each save.
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

/** A value, and who waits for it to be saved. */
interface Version<T> {
  readonly value: T
  readonly waiters: Array<PromiseWithResolvers<void>>
}

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
  if (typeof save !== 'function') refuse('give a function')
  let state: AutosaveState = { status: 'idle', unsaved: false }
  /** What `state` was made of, besides its error. */
  let shown = ''
  /** The newest value, unless it is under way. */
  let pending: Version<T> | undefined
  let underWay: (Version<T> & { readonly controller: AbortController; readonly keepalive: boolean }) | undefined
  /** What must be over before an automatic save; each there while its time runs. */
  const alarms: { debounce?: () => void; interval?: () => void; retry?: () => void } = {}
  let failures = 0
  let error: unknown
  let inConflict = false
  /** Somebody waits for it: `flush()`. */
  let isUrgent = false
  let finish: (() => void) | undefined
  let closed: Promise<void> | undefined

  const rests = () => inConflict || alarms.retry || alarms.debounce || alarms.interval

  function update(): void {
    const retryAt = ((underWay || (pending && !rests())) && client?.waitingUntil) || retryAtOf(error)
    const status = inConflict
      ? 'conflict'
      : retryAt
        ? 'waiting'
        : underWay
          ? 'saving'
          : error
            ? 'failed'
            : pending
              ? 'pending'
              : 'idle'
    const unsaved = !!(pending || underWay)
    const showing = status + unsaved + retryAt
    if (showing === shown && error === state.error) return
    shown = showing
    state = { status, unsaved, ...(retryAt && { retryAt }), ...(error ? { error } : {}) }
    tell(onState, state)
  }

  /** Starts a save if one is due and nothing holds it. */
  function consider(): void {
    if (pending && !underWay && !finish && (isUrgent || !rests()) && !client?.waitingUntil) start(false)
    update()
  }

  function start(keepalive: boolean): void {
    const { value, waiters } = pending!
    const controller = new AbortController()
    const mine = { value, waiters, controller, keepalive }
    const letGo = keepalive ? takeKeepalive(value) : undefined
    cancel('debounce')
    cancel('retry')
    if (!isUrgent && !keepalive) rest('interval', minIntervalMs)
    pending = undefined
    isUrgent = inConflict = false
    underWay = mine
    error =
      keepalive && !letGo
        ? new ApiError('too large to be sent while the page closes', 'KEEPALIVE_TOO_LARGE')
        : undefined
    const context = { signal: controller.signal, keepalive: !!letGo }
    withDeadline(() => save(value, context), controller)
      // A rejection with nothing is a failure too.
      .then(
        () => undefined,
        (reason) => reason || new Error('no reason'),
      )
      .then((failure) => {
        letGo?.()
        // A newer value may have taken its place.
        if (underWay === mine) ended(mine, failure)
      })
    update()
  }

  function ended({ value, waiters }: Version<T>, failure: unknown): void {
    underWay = undefined
    error = failure
    if (failure) {
      pending ??= { value, waiters: [] }
      inConflict = statusOf(failure) === 409
      const toldMs = +(retryAtOf(failure) ?? 0) - wallNow()
      if (!inConflict) rest('retry', toldMs > 0 ? toldMs : Math.min(BACKOFF_MS * 2 ** failures++, LONGEST_BACKOFF_MS))
    } else failures = 0
    for (const waiter of waiters) failure ? waiter.reject(error) : waiter.resolve()
    // Somebody asked for a value that came after this one.
    isUrgent = !!pending?.waiters[0]
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
    pending ??= { value: older!.value, waiters: [] }
    pending.waiters.push(...(older?.waiters ?? []))
    underWay = undefined
    older?.controller.abort(new ApiError('a newer value is sent', 'SUPERSEDED'))
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
      pending = { value, waiters: pending?.waiters ?? [] }
      rest('debounce', debounceMs)
      update()
    },
    flush() {
      const waiter = Promise.withResolvers<void>()
      // `state` tells too: who does not wait for it need not catch it.
      waiter.promise.catch(() => {})
      isUrgent = !!pending
      const version = pending ?? underWay
      if (version) version.waiters.push(waiter)
      else waiter.resolve()
      consider()
      return waiter.promise
    },
    close() {
      closed ??= new Promise((resolve) => {
        finish = () => {
          for (const end of ends) end?.()
          for (const why in alarms) cancel(why as keyof typeof alarms)
          for (const waiter of pending?.waiters ?? []) waiter.reject(error ?? closedError())
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
