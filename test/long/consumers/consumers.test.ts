import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// Other people's projects: each installs the packed package, and builds and runs it in its own way.

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const HERE = fileURLToPath(new URL('./', import.meta.url))
/** Outside the repository, so that nothing is found that a consumer would not have. */
const PROJECT = `${mkdtempSync(join(tmpdir(), 'holdfast-consumer-'))}/`
const TOOLS = `${HERE}node_modules/`
const NODE_24 = process.execPath
const NODE_20 = `${TOOLS}node-20/bin/node`
const NODE_22 = `${TOOLS}node-22.19/bin/node`

const run = (program: string, args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) =>
  execFileSync(program, args, {
    cwd: options.cwd ?? PROJECT,
    encoding: 'utf8',
    timeout: 240_000,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', ...options.env },
  })

beforeAll(() => {
  run('npm', ['install', '--no-audit', '--no-fund'], { cwd: HERE })
  const [tarball] = run('npm', ['pack', '--silent', '--pack-destination', PROJECT], { cwd: ROOT })
    .trim()
    .split('\n')
    .slice(-1)
  writeFileSync(`${PROJECT}package.json`, JSON.stringify({ private: true, type: 'module' }))
  run('npm', ['install', '--no-audit', '--no-fund', '--no-save', `./${tarball}`, '@types/node@24'])
  cpSync(`${HERE}app`, PROJECT, { recursive: true })
}, 600_000)
afterAll(() => rmSync(PROJECT, { recursive: true, force: true }))

/** What the app prints: the first request and one with a made-up token count for their address, the others for the user, the last over the limit. */
const SERVED = { statuses: [200, 401, 200, 200, 429], isUser: true, guilds: 20 }

describe('one guarded, signed-in request is served', () => {
  test.each<[string, string, string[]]>([
    ['Node 22.19, the oldest that is promised', NODE_22, ['serve.mjs']],
    ['Node 24', NODE_24, ['serve.mjs']],
    ['Bun', `${TOOLS}.bin/bun`, ['serve.mjs']],
    ['Deno', `${TOOLS}.bin/deno`, ['run', '--allow-all', 'serve.mjs']],
  ])('on %s', (_name, program, args) => {
    expect(JSON.parse(run(program, args))).toEqual(SERVED)
  })

  test('bundled by esbuild into one file', () => {
    run(`${TOOLS}.bin/esbuild`, [
      'serve.mjs',
      '--bundle',
      '--platform=node',
      '--format=esm',
      '--outfile=built/esbuild.mjs',
      `--banner:js=import{createRequire as requireOf}from'node:module';const require=requireOf(import.meta.url);`,
    ])
    expect(JSON.parse(run(NODE_24, ['built/esbuild.mjs']))).toEqual(SERVED)
  })

  test('bundled by webpack, without an error', () => {
    writeFileSync(
      `${PROJECT}webpack.mjs`,
      `import webpack from ${JSON.stringify(`${TOOLS}webpack/lib/index.js`)}
const compiler = webpack({ mode: 'production', target: 'node22', entry: './serve.mjs', experiments: { outputModule: true }, output: { path: ${JSON.stringify(`${PROJECT}built`)}, filename: 'webpack.mjs', module: true, chunkFormat: 'module' } })
compiler.run((error, stats) => { if (error) throw error; const { errors, warnings } = stats.toJson(); console.log(JSON.stringify({ errors: errors.map(({ message }) => message), warnings: warnings.map(({ message }) => message) })) })`,
    )
    const { errors, warnings } = JSON.parse(run(NODE_24, ['webpack.mjs'])) as Record<'errors' | 'warnings', string[]>
    expect(errors).toEqual([])
    // Packages that are not there because they are optional: ours, and the Redis client's own.
    expect(warnings.filter((message) => !/Can't resolve '(kysely|pg|ws)'|@redis\/client/.test(message))).toEqual([])
    expect(JSON.parse(run(NODE_24, ['built/webpack.mjs']))).toEqual(SERVED)
  })

  test('built for servers by Vite, with everything inside', () => {
    writeFileSync(
      `${PROJECT}vite.config.mjs`,
      `export default { ssr: { noExternal: true }, logLevel: 'error', build: { ssr: 'serve.mjs', outDir: 'built/vite', target: 'node22' } }`,
    )
    run(`${TOOLS}.bin/vite`, ['build'])
    expect(JSON.parse(run(NODE_24, ['built/vite/serve.js']))).toEqual(SERVED)
  })
})

describe('required from CommonJS', () => {
  test.each([
    ['Node 22.19', NODE_22],
    ['Node 24', NODE_24],
  ])('on %s', (_name, program) => {
    expect(JSON.parse(run(program, ['required.cjs']))).toEqual({ guilds: 20, refused: true, free: 'function' })
  })
})

test('Jest runs tests that use it', () => {
  const config = JSON.stringify({ testMatch: ['**/page.test.mjs'], transform: {}, rootDir: PROJECT })
  const args = ['--experimental-vm-modules', `${TOOLS}jest/bin/jest.js`, '--config', config]
  expect(() => run(NODE_24, args)).not.toThrow()
})

describe('a runtime that it does not run on', () => {
  const SENTENCE = 'holdfast needs Node 22.19 or later; this is Node 20.19.0'

  test.each(['holdfast', 'holdfast/express', 'holdfast/next', 'holdfast/simulator'])(
    'an older Node is told so by the import of %s, in an error that can be caught',
    (door) => {
      const program = `import('${door}').catch((error) => console.log(error.message)).finally(() => console.log('and goes on'))`
      expect(run(NODE_20, ['--input-type=module', '--eval', program]).trim().split('\n')).toEqual([
        SENTENCE,
        'and goes on',
      ])
    },
  )

  test('an older Node is told so by the command line, in one sentence', () => {
    const { stdout, stderr, status } = spawnSync(NODE_20, ['node_modules/holdfast/dist/cli/main.js', 'doctor'], {
      cwd: PROJECT,
      encoding: 'utf8',
    })
    expect([stdout, stderr, status]).toEqual(['', `${SENTENCE}\n`, 1])
  })

  test.each(['edge-light', 'workerd'])('the condition %s says at import what runs where', (condition) => {
    const program = `import('holdfast/next').catch((error) => console.log(error.message))`
    expect(run(NODE_24, ['--conditions', condition, '--input-type=module', '--eval', program])).toContain(
      'and not on edge runtimes',
    )
    const browser = `import('holdfast/browser').then(({ createApiClient }) => console.log(typeof createApiClient))`
    expect(run(NODE_24, ['--conditions', condition, '--input-type=module', '--eval', browser]).trim()).toBe('function')
  })
})

describe('its types', () => {
  const compilers = [
    ['TypeScript 5.9', `${TOOLS}typescript-5.9/bin/tsc`],
    ['TypeScript 7', `${ROOT}node_modules/typescript/bin/tsc`],
  ] as const
  const settings = [
    ['nodenext', 'with Node’s types', { module: 'nodenext', types: ['node'], lib: ['es2024', 'esnext.disposable'] }],
    [
      'nodenext',
      'without them',
      { module: 'nodenext', types: [], lib: ['es2024', 'esnext.disposable', 'dom', 'dom.iterable'] },
    ],
    [
      'bundler',
      'with Node’s types',
      { module: 'esnext', moduleResolution: 'bundler', types: ['node'], lib: ['es2024', 'esnext.disposable'] },
    ],
    [
      'bundler',
      'without them',
      {
        module: 'esnext',
        moduleResolution: 'bundler',
        types: [],
        lib: ['es2024', 'esnext.disposable', 'dom', 'dom.iterable'],
      },
    ],
  ] as const
  const cases = compilers.flatMap(([compiler, path]) =>
    settings.map(([module, types, options]) => ({ compiler, module, types, path, options })),
  )

  test.each(cases)('hold for $compiler, $module, $types', ({ path, options }) => {
    const config = {
      compilerOptions: {
        ...options,
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        target: 'es2024',
        skipLibCheck: false,
      },
      files: ['types.ts', ...(options.types.length > 0 ? ['types-simulator.ts'] : [])],
    }
    writeFileSync(`${PROJECT}tsconfig.json`, JSON.stringify(config))
    let complaints = ''
    try {
      run(NODE_24, [path, '-p', 'tsconfig.json'])
    } catch (error) {
      complaints = String((error as { stdout?: string }).stdout)
    }
    // What a dependency's own declarations say is theirs to mend; ours, and the consumer's use of them, are clean.
    const ours = complaints.split('\n').filter((line) => /^(types\.ts|node_modules\/holdfast\/)/.test(line))
    expect(ours).toEqual([])
  })
})
