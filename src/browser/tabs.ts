import { alarm, type Milliseconds } from './clock.ts'

/**
 * How long a turn is kept after its outcome was told. A lock is granted at once, a message needs a moment: who hears of a
 * free lock before the outcome would believe that nobody has tried.
 */
const GRACE_MS: Milliseconds = 300

/** How often a tab that waits for another's outcome looks whether that other tab is still there. */
export const LOOK_AGAIN_MS: Milliseconds = 250

/** Whether this runs in a page. A server has channels and locks too, but its requests are different people's. */
export const inPage = () => typeof document === 'object'

/** Calls `hear` for events of the window (a document's events rise to it) until the returned function is called; does nothing outside a page. */
export function on(type: string, hear: () => void): () => void {
  if (!inPage()) return () => {}
  addEventListener(type, hear)
  return () => removeEventListener(type, hear)
}

export const isHidden = () => globalThis.document?.hidden

/** Calls what others gave us. What it throws is theirs: it becomes an unhandled rejection, and disturbs nobody here. */
export async function tell<T>(listener: ((word: T) => void) | undefined, word: T): Promise<void> {
  listener?.(word)
}

/**
 * A channel to the other tabs of this origin, and to others of the same name in this one; it posts, and with nothing to
 * post it closes. Without BroadcastChannel nothing is said or heard. Anybody on this origin can post anything, so who
 * hears it checks every field.
 */
export function openChannel(
  name: string,
  hear: (message: Record<string, unknown>) => void,
): (message?: object) => void {
  let channel: BroadcastChannel | undefined
  try {
    if (inPage()) channel = new BroadcastChannel(name)
    channel!.onmessage = ({ data }) => hear(Object(data))
  } catch {
    // An old browser, one that forbids it to this page, or no page: each tab for itself.
  }
  return (message) => {
    try {
      if (message) channel!.postMessage(message)
      else channel!.close()
    } catch {
      // What cannot be cloned is not told: the others find out by themselves.
    }
  }
}

/** Something that one tab does at a time. */
export interface Turn {
  /** Whether the turn is ours, now. Never waits for another tab; a tab that dies gives its turn back. Without Web Locks (an old browser, plain http) always. */
  take(): Promise<boolean>
  /** Gives the turn back once what was told of it has arrived everywhere; or at once, and for good. */
  give(forGood?: boolean): void
}

export function turnOf(name: string): Turn {
  let release: (() => void) | undefined
  let endGrace = () => {}
  let isOver: boolean | undefined
  const free = () => {
    release?.()
    release = undefined
  }
  return {
    async take() {
      endGrace()
      return (
        !!release ||
        !inPage() ||
        !navigator.locks ||
        new Promise((resolve) => {
          const held = (lock: Lock | null) => {
            resolve(!!lock)
            if (lock && !isOver)
              return new Promise<void>((done) => {
                release = done
              })
          }
          // Refused where the page has no storage: everybody for themselves.
          navigator.locks.request(name, { ifAvailable: true }, held).catch(() => resolve(true))
        })
      )
    },
    give(forGood) {
      isOver ||= forGood
      endGrace()
      if (forGood) free()
      else if (release) endGrace = alarm(GRACE_MS, free)
    },
  }
}
