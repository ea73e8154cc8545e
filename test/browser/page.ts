import { vi } from 'vitest'

/** A page around the code under test: window, document, storage and channels of one tab, as far as the room touches them. */
export function startPage(
  options: { storage?: Storage | 'forbidden'; channels?: boolean; path?: string; latencyMs?: number } = {},
) {
  const target = new EventTarget()
  const listeners = new Map<string, number>()
  let isHidden = false
  const count = (type: string, by: number) => listeners.set(type, (listeners.get(type) ?? 0) + by)
  vi.stubGlobal('document', {
    get hidden() {
      return isHidden
    },
  })
  vi.stubGlobal('location', { pathname: options.path ?? '/page' })
  vi.stubGlobal('addEventListener', (type: string, hear: EventListener) => {
    count(type, 1)
    target.addEventListener(type, hear)
  })
  vi.stubGlobal('removeEventListener', (type: string, hear: EventListener) => {
    count(type, -1)
    target.removeEventListener(type, hear)
  })
  // Node's locks are real, and nobody moves their time by hand.
  vi.stubGlobal('navigator', {})
  if (options.storage === 'forbidden')
    Object.defineProperty(globalThis, 'localStorage', {
      configurable: true,
      get() {
        throw new DOMException('The operation is insecure.', 'SecurityError')
      },
    })
  else vi.stubGlobal('localStorage', options.storage ?? memoryStorage())
  const channels = options.channels === false ? undefined : new Set<FakeChannel>()
  class FakeChannel {
    onmessage: ((event: { data: unknown }) => void) | null = null
    readonly name: string
    constructor(name: string) {
      if (!channels) throw new DOMException('denied', 'SecurityError')
      this.name = name
      channels.add(this)
    }
    postMessage(data: unknown) {
      const copy = structuredClone(data)
      for (const other of channels!)
        if (other !== this && other.name === this.name)
          setTimeout(() => other.onmessage?.({ data: copy }), options.latencyMs ?? 1)
    }
    close() {
      channels!.delete(this)
    }
  }
  vi.stubGlobal('BroadcastChannel', FakeChannel)
  return {
    hide: () => {
      isHidden = true
      target.dispatchEvent(new Event('visibilitychange'))
    },
    show: () => {
      isHidden = false
      target.dispatchEvent(new Event('visibilitychange'))
    },
    leave: () => target.dispatchEvent(new Event('pagehide')),
    online: () => target.dispatchEvent(new Event('online')),
    post: (name: string, data: unknown) => {
      for (const channel of channels ?? []) if (channel.name === name) channel.onmessage?.({ data })
    },
    openChannels: () => channels?.size ?? 0,
    listening: () => [...listeners.values()].reduce((sum, more) => sum + more, 0),
  }
}

export function memoryStorage(full = false): Storage {
  const items = new Map<string, string>()
  return {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => {
      if (full) throw new DOMException('full', 'QuotaExceededError')
      items.set(key, value)
    },
    removeItem: (key: string) => items.delete(key),
    clear: () => items.clear(),
    key: (index: number) => [...items.keys()][index] ?? null,
    get length() {
      return items.size
    },
  }
}
