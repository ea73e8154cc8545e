import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^holdfast\/simulator$/, replacement: source('simulator/simulator.ts') },
      { find: /^holdfast\/(express|next|web)$/, replacement: source('doors/$1.ts') },
      { find: /^holdfast$/, replacement: source('index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    globalSetup: ['test/support/global-redis.ts', 'test/support/postgres.ts'],
    // A stray console line is a message to somebody who is not reading: it fails the test that wrote it.
    setupFiles: ['test/support/quiet.ts'],
    dangerouslyIgnoreUnhandledErrors: false,
  },
})
