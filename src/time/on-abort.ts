import { TransientMap } from '../collections/transient-map.ts'
import { atTurnsEnd } from './clock.ts'

/** Those who listen to one signal, and our one listener on it. */
interface Listeners {
  /** By what ends each: the same function may listen twice. */
  readonly calls: TransientMap<() => void, () => void>
  readonly heard: () => void
}

/** Kept on the signal itself: a WeakMap of as many signals as there are calls costs the collector more than the calls. */
const LISTENERS = Symbol('holdfast.listeners')
type Heard = AbortSignal & { [LISTENERS]?: Listeners | undefined }

/** How many are told at once; the rest hear of it in the next turns of the event loop, so that no abort holds the loop for long. */
const AT_ONCE = 100

/**
 * Calls `call` once when the signal aborts, unless the returned function is called first. The signal must not be aborted
 * yet. However many listen to one signal, it carries one listener of ours: an event target searches all it has for each
 * that comes or goes, and ten thousand of them on one signal hold the event loop for seconds.
 */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  const of: Heard = signal
  const listeners = of[LISTENERS] ?? listen(of)
  const unlisten = () => {
    if (!listeners.calls.delete(unlisten) || listeners.calls.size > 0 || of[LISTENERS] !== listeners) return
    of[LISTENERS] = undefined
    of.removeEventListener('abort', listeners.heard)
  }
  listeners.calls.set(unlisten, call)
  return unlisten
}

function listen(signal: Heard): Listeners {
  const calls: Listeners['calls'] = new TransientMap()
  const heard = () => {
    signal[LISTENERS] = undefined
    tell(calls, [...calls.keys()], 0)
  }
  const listeners = { calls, heard }
  // Not to be seen by whoever looks at the signal.
  Object.defineProperty(signal, LISTENERS, { value: listeners, writable: true, configurable: true })
  signal.addEventListener('abort', heard, { once: true })
  return listeners
}

/** Tells those of `listeners` from the `next` on who still listen when it is their turn. */
function tell(calls: Listeners['calls'], listeners: ReadonlyArray<() => void>, next: number): void {
  let index = next
  for (let told = 0; told < AT_ONCE && index < listeners.length; index++) {
    const listener = listeners[index]!
    const call = calls.get(listener)
    if (!call) continue
    calls.delete(listener)
    call()
    told++
  }
  if (calls.size > 0) atTurnsEnd(() => tell(calls, listeners, index))
}
