// What the journeys put on the pages they open.
declare global {
  interface Window {
    holdfast: typeof import('holdfast/browser')
    client: import('holdfast/browser').ApiClient
    saver: import('holdfast/browser').Autosave<string>
    results: unknown[]
    states: unknown[]
    done: Promise<unknown>
  }
}

export {}
