// The package door `holdfast/react`: hooks on `holdfast/browser`. `react` is an optional peer, from 18 on.
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import type { ApiClient } from './api-client.ts'
import { type Autosave, type AutosaveOptions, type AutosaveState, autosave } from './autosave.ts'
import { type PollOptions, poll } from './poll.ts'

/** Until when `client` holds requests; null while it does not, and while a server renders. Renders anew when that changes. */
export function useWait(client: ApiClient): Date | null {
  const subscribe = useCallback((changed: () => void) => client.onWait(changed), [client])
  return useSyncExternalStore(
    subscribe,
    () => client.waitingUntil,
    () => null,
  )
}

const IDLE: AutosaveState = { status: 'idle', unsaved: false }

/**
 * `autosave` for as long as the component is there; a new object for each new state. `save` and `onState` are those of the
 * last render; the other options those of the first. The functions stay the same. When the component goes, what is unsaved
 * is saved once more.
 */
export function useAutosave<T>(options: AutosaveOptions<T>): Autosave<T> {
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })
  const [state, setState] = useState(IDLE)
  const actions = useMemo(() => {
    let current: Autosave<T> | undefined
    let isClosed = false
    const open = () => {
      current = autosave<T>({
        ...latest.current,
        save: (value, context) => latest.current.save(value, context),
        onState: (next) => {
          setState(next)
          latest.current.onState?.(next)
        },
      })
      isClosed = false
      return current
    }
    return {
      // A change may come before the first effect; StrictMode rehearses unmounting, and goes on with a new one.
      open: () => void ((!current || isClosed) && open()),
      change: (value: T) => (current ?? open()).change(value),
      flush: () => current?.flush() ?? Promise.resolve(),
      close: () => {
        isClosed = true
        return current?.close() ?? Promise.resolve()
      },
    }
  }, [])
  useEffect(() => {
    actions.open()
    return () => void actions.close()
  }, [actions])
  return useMemo(() => {
    const { change, flush, close } = actions
    return { change, flush, close, state }
  }, [actions, state])
}

/**
 * `poll` for as long as the component is there: the last result, of whichever tab asked; undefined before the first one.
 * `task` and `onResult` are those of the last render. Another `everyMs`, `key` or `client` begins a new poll.
 */
export function usePoll<T>(task: (signal: AbortSignal) => Promise<T>, options: PollOptions<T>): T | undefined {
  const latest = useRef({ task, options })
  useEffect(() => {
    latest.current = { task, options }
  })
  const [value, setValue] = useState<{ readonly result: T }>()
  const { everyMs, key, client } = options
  useEffect(() => {
    const { stop } = poll<T>((signal) => latest.current.task(signal), {
      everyMs,
      ...(key !== undefined && { key }),
      ...(client && { client }),
      onResult: (result) => {
        setValue({ result })
        latest.current.options.onResult?.(result)
      },
    })
    return stop
  }, [everyMs, key, client])
  return value?.result
}
