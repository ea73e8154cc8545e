import { atTurnsEnd } from './clock.ts'

/** Those who listen to one signal, and how our one listener on it is taken off. */
interface Listeners {
  readonly calls: Set<() => void>
  readonly heard: () => void
}

const listening = new WeakMap<AbortSignal, Listeners>()
/** How many are told at once; the rest hear of it in the next turns of the event loop, so that no abort holds the loop for long. */
const AT_ONCE = 200

/**
 * Calls `call` once when the signal aborts, unless the returned function is called first. The signal must not be aborted
 * yet. However many listen to one signal, it carries one listener of ours: an event target searches all it has for each
 * that comes or goes, and ten thousand of them on one signal hold the event loop for seconds.
 */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  let listeners = listening.get(signal)
  if (!listeners) {
    const calls = new Set<() => void>()
    listeners = {
      calls,
      heard: () => {
        listening.delete(signal)
        tell(calls)
      },
    }
    listening.set(signal, listeners)
    signal.addEventListener('abort', listeners.heard, { once: true })
  }
  const { calls, heard } = listeners
  calls.add(call)
  return () => {
    if (!calls.delete(call) || calls.size > 0 || listening.get(signal)?.calls !== calls) return
    listening.delete(signal)
    signal.removeEventListener('abort', heard)
  }
}

function tell(calls: Set<() => void>): void {
  let told = 0
  for (const call of calls) {
    calls.delete(call)
    call()
    if (++told < AT_ONCE) continue
    if (calls.size > 0) atTurnsEnd(() => tell(calls))
    return
  }
}
