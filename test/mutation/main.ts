// Puts small faults into files of src, one by one, and tells which of them no unit test notices:
//   npm run mutate -- src/quota/owner-pool.ts src/http/retry-after.ts
// A survivor is a place to look, not a verdict: some faults change nothing that anybody could see.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { filesThatNeedServers } from '../support/files-that-need.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const here = fileURLToPath(new URL('./', import.meta.url))
const files = process.argv.slice(2)
if (files.length === 0 || !files.every((file) => /^src\/.+\.ts$/.test(file) && existsSync(join(root, file)))) {
  process.stderr.write('Name files of src: npm run mutate -- src/http/retry-after.ts\n')
  process.exit(2)
}

const slow = new Set(filesThatNeedServers(join(root, 'test')))
/** The tests of the folders that the files stand in: `test` mirrors `src`. */
const tests = [...new Set(files.map((file) => dirname(file).replace(/^src/, 'test')))].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.test.ts') && !slow.has(join(root, folder, file)))
    .map((file) => join(folder, file)),
)

// Beside the project's own, because Stryker copies the project and looks for them from its root.
const vitestConfig = '.mutation.vitest.config.ts'
const strykerConfig = '.mutation.stryker.json'
writeFileSync(
  join(root, vitestConfig),
  `import { defineConfig } from 'vitest/config'
import { alias } from './vitest.config.ts'
export default defineConfig({ resolve: { alias }, test: { include: ${JSON.stringify(tests)}, setupFiles: ['test/support/quiet.ts'], testTimeout: 20_000 } })
`,
)
writeFileSync(
  join(root, strykerConfig),
  JSON.stringify({
    testRunner: 'vitest',
    vitest: { configFile: vitestConfig, related: false },
    plugins: [join(here, 'node_modules/@stryker-mutator/vitest-runner/dist/src/index.js')],
    mutate: files,
    reporters: ['clear-text', 'progress'],
    // Stryker rewrites a tsconfig with the compiler's JavaScript interface, which TypeScript 7 does not have.
    tsconfigFile: 'none.json',
    ignorePatterns: ['bench', 'dist', 'examples'],
    timeoutMS: 30_000,
    tempDirName: '.mutation',
  }),
)
const stryker = join(here, 'node_modules/@stryker-mutator/core/bin/stryker.js')
const { status } = spawnSync(process.execPath, [stryker, 'run', strykerConfig], { cwd: root, stdio: 'inherit' })
for (const file of [vitestConfig, strykerConfig, '.mutation', 'reports'])
  rmSync(join(root, file), { recursive: true, force: true })
process.exit(status ?? 1)
