import { afterAll, afterEach, vi } from 'vitest'

// A library that prints is a library that surprises: any console line fails the test that caused it.
const lines: string[] = []
for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
  vi.spyOn(console, method).mockImplementation((...words: unknown[]) => {
    lines.push(`console.${method}: ${words.map(String).join(' ')}`)
  })
}

afterEach(() => {
  const written = lines.splice(0)
  if (written.length > 0) throw new Error(`something was printed during this test:\n${written.join('\n')}`)
})

// The files of a worker share its globals: none leaves a stopped clock, a stand-in or a variable to the next.
afterAll(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
})
