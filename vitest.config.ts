import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { filesThatNeedNock, filesThatNeedServers } from './test/support/files-that-need.ts'

const root = fileURLToPath(new URL('.', import.meta.url))
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** Each door of package.json, as its source: tests run the source, whatever was built. */
const { exports: doors } = JSON.parse(readFileSync(path('package.json'), 'utf8')) as {
  exports: Record<string, string | { default: string }>
}
export const alias = Object.entries(doors).flatMap(([door, target]) => {
  if (typeof target === 'string') return []
  const source = target.default.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts')
  return [{ find: new RegExp(`^holdfast${door.slice(1)}$`), replacement: path(source) }]
})

const servers = filesThatNeedServers(path('test')).map((file) => relative(root, file))
const nocked = filesThatNeedNock(path('test'))
  .map((file) => relative(root, file))
  .filter((file) => !servers.includes(file))
const long = 'test/long/**/*.test.ts'
const packages = '**/node_modules/**'

/**
 * Tests of what happens within some milliseconds of another process or a server: after the others and two files at a time,
 * because a neighbour that takes the processor from them makes them late. They wait far more than they compute.
 */
const alone = servers.filter((file) =>
  /[\\/](redis|keyv)[\\/]|two-instances|shared-tier|fleet|owner-quota-redis|trouble|browser[\\/]/.test(file),
)

/** Tests of deadlines that only count while the process had a processor: one file at a time, with nothing beside it. */
const single = alone.filter((file) => /redis[\\/]connection\.test/.test(file))

/** What builds and starts what tests need; each installs it where it is missing. */
const setups = ['build', 'global-redis', 'postgres', 'chromium'].map((name) => `test/support/${name}.ts`)

const project = (name: string, test: object) => ({
  extends: true as const,
  resolve: { alias },
  test: {
    name,
    testTimeout: 20_000,
    // A stray console line is a message to somebody who is not reading: it fails the test that wrote it.
    setupFiles: ['test/support/quiet.ts'],
    dangerouslyIgnoreUnhandledErrors: false,
    ...test,
  },
})

export default defineConfig({
  test: {
    // Most tests wait more than they compute; by default two cores would run one file at a time.
    maxWorkers: Math.max(3, availableParallelism()),
    projects: [
      /**
       * In one process, without any server but those on loopback that a test starts itself. Files share a worker's modules:
       * loading them anew for each file took two thirds of the processor time. A test leaves nothing behind.
       */
      project('unit', {
        include: ['test/**/*.test.ts'],
        exclude: [long, packages, ...servers, ...nocked],
        isolate: false,
      }),
      /** The same with Discord's answers made up by nock, which changes a worker's sockets for good. */
      project('wire', { include: nocked, isolate: false }),
      /** With Redis, PostgreSQL, other processes, a browser or the built package. */
      project('servers', {
        include: servers,
        exclude: [long, packages, ...alone],
        globalSetup: setups,
      }),
      project('alone', { include: alone, exclude: [packages, ...single], globalSetup: setups }),
      project('single', { include: single, exclude: [packages], globalSetup: setups }),
      /** What takes long, or needs other people's builds and clients: `npm run test:long`. */
      project('long', {
        include: [long],
        exclude: [packages],
        testTimeout: 300_000,
        hookTimeout: 300_000,
        globalSetup: setups,
      }),
    ],
  },
})
