import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const SRC = fileURLToPath(new URL('../src', import.meta.url))

/** What every room builds on. They import each other and no room; `browser` is the one room that does without most. */
const FOUNDATIONS = [
  'errors',
  'time',
  'secrets',
  'events',
  'http',
  'concurrency',
  'collections',
  'sessions',
  'config',
  'guilds',
] as const

/** The rooms on the line. None imports another: the next one comes in as a parameter. */
const ROOMS = ['guard', 'auth', 'sign-in', 'cache', 'ledger', 'quota', 'discord'] as const

/** Who may import whom, types included: a folder of src, or a file directly in it. A new folder begins with a row here. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(FOUNDATIONS.map((name) => [name, FOUNDATIONS])),
  ...Object.fromEntries(ROOMS.map((name) => [name, [...FOUNDATIONS, name]])),
  // Runs in a browser, and must stay small: it brings its own clock, whose only kin is the page's.
  browser: ['browser'],
  redis: [...FOUNDATIONS, 'redis'],
  database: [...FOUNDATIONS, 'database'],
  // A store that was handed in: nothing of Keyv's is loaded.
  keyv: [...FOUNDATIONS, 'keyv'],
  // Builds the line, and what stands beside it.
  instance: [...FOUNDATIONS, ...ROOMS, 'redis', 'database', 'keyv', 'instance'],
  'index.ts': [...FOUNDATIONS, ...ROOMS, 'instance'],
  // Translate, and decide nothing.
  doors: [...FOUNDATIONS, 'doors', 'auth', 'guard', 'instance'],
  // Translate events and steps into another system's words.
  metrics: [...FOUNDATIONS, 'metrics', 'instance'],
  // The referee does not borrow the player's rule book; how options are checked is none of Discord's rules.
  simulator: ['simulator', 'time/clock.ts', 'config/options.ts', 'config/accepted.ts', 'config/runtime.ts'],
  // A user of the package like any other: its doors only.
  cli: ['cli'],
}

/** The interfaces of other rooms that a room implements: it imports their types and nothing else. */
const TYPES_OF: Readonly<Record<string, readonly string[]>> = {
  redis: [
    'cache/shared-tier.ts',
    'discord/fleet.ts',
    'guard/applied-limit.ts',
    'guard/counters.ts',
    'quota/owner-pool.ts',
    'quota/pool-store.ts',
    'quota/quota-answer.ts',
    'sign-in/sign-in-store.ts',
  ],
  keyv: ['cache/shared-tier.ts'],
  database: [
    'ledger/bot-guild-store.ts',
    'ledger/later-fetch.ts',
    'ledger/membership-store.ts',
    'quota/key-store.ts',
    'sign-in/sign-in-store.ts',
  ],
}

/**
 * What may be named by some files only. `cli` is a program of its own, in front of the doors: the clock and the
 * transport are not for it to import, so it waits and calls as any user's program does. `browser` has a clock of its own:
 * that of time/ is Node's.
 */
const ONLY_IN: ReadonlyArray<{ what: string; pattern: RegExp; in: RegExp }> = [
  {
    what: 'reads the time',
    pattern: /\bDate\.now\b|\bnew Date(?!\s*\(\s*[^\s)])|(?<![.\w])(?<!new )Date\(/,
    in: /^((time|browser)\/clock\.ts$|cli\/)/,
  },
  {
    what: 'reads the time',
    pattern: /\bperformance\s*\.\s*now\b|\bhrtime\b/,
    in: /^((time|browser)\/clock\.ts$|cli\/)/,
  },
  {
    what: 'sets a timer',
    pattern: /\bset(Timeout|Interval)\b|\bAbortSignal\.timeout\b/,
    // The simulator's page has a script of its own, which runs in a browser.
    in: /^((time|browser)\/clock\.ts$|cli\/|simulator\/levers-page\.ts$)/,
  },
  { what: 'sets a timer', pattern: /\bsetImmediate\b/, in: /^((time\/clock|simulator\/virtual-clock)\.ts$|cli\/)/ },
  {
    what: 'calls the network',
    pattern: /\bglobalThis\.(fetch|WebSocket|EventSource)\b|\bnew (WebSocket|EventSource|XMLHttpRequest)\b/,
    in: /^(discord\/transport\.ts$|browser\/api-client\.ts$|simulator\/|cli\/)/,
  },
  {
    what: 'calls the network',
    pattern: /(?<![.\w#])(?<!async |function )fetch\(|[=:(,?]\s*fetch\b(?!\s*[:(<])/,
    in: /^(discord\/transport\.ts$|browser\/api-client\.ts$|simulator\/|cli\/)/,
  },
]

/** Modules that may be imported by some files only. */
const MODULES_ONLY_IN: ReadonlyArray<{ module: RegExp; in: RegExp }> = [
  {
    module: /^undici(\/|$)|^(node:)?(http|https|http2|net|tls|dgram|dns)(\/|$)/,
    in: /^(discord\/transport\.ts$|simulator\/|cli\/)/,
  },
  // redis/script.ts: the SHA-1 that Redis knows a script by.
  { module: /^(node:)?crypto$/, in: /^(secrets\/(key-ring|signature)\.ts$|redis\/script\.ts$|simulator\/|cli\/)/ },
  { module: /^@keyv\/redis$|^@redis\/|^keyv$|^ioredis$/, in: /^redis\/link\.ts$/ },
  { module: /^prom-client$|^@opentelemetry\//, in: /^metrics\// },
  { module: /^(kysely|pg)(\/|$)|^(node:)?sqlite$/, in: /^database\// },
  { module: /^(node:)?(timers|perf_hooks)(\/|$)/, in: /^((time|browser)\/clock\.ts$|cli\/)/ },
  { module: /^(node:.*|fs|path|crypto|http|net|os|url|util|events|stream)$/, in: /^(?!browser\/)/ },
  { module: /^holdfast(\/|$)/, in: /^cli\// },
]

/** A name that says nothing attracts everything. */
const SAYS_NOTHING = /^(utils?|helpers?|commons?|shared|types?|libs?|core)$/

type Tree = Readonly<Record<string, string>>

/** Everything in a tree of sources (path within src → text) that breaks a rule above. */
function violations(tree: Tree): string[] {
  const found: string[] = []
  const imports = new Map<string, string[]>()
  for (const [file, text] of Object.entries(tree)) {
    const room = roomOf(file)
    const allowed = MAY_IMPORT[room]
    if (!allowed) found.push(`${file}: the room ${room} has no row in the table`)
    for (const part of file.replace(/\.ts$/, '').split(/[/.]/))
      if (SAYS_NOTHING.test(part)) found.push(`${file}: the name ${part} says nothing`)
    const code = withoutComments(text)
    if (/\bimport\(\s*[^'"\s]/.test(code)) found.push(`${file}: imports something that is not written out`)
    const targets: string[] = []
    for (const module of modulesOf(code)) {
      if (!module.startsWith('.')) {
        for (const rule of MODULES_ONLY_IN)
          if (rule.module.test(module) && !rule.in.test(file)) found.push(`${file}: may not import ${module}`)
        continue
      }
      const target = posix.normalize(posix.join(posix.dirname(file), module))
      if (target.startsWith('..')) found.push(`${file}: imports ${module}, outside src`)
      else if (!(target in tree)) found.push(`${file}: imports ${module}, which is not there`)
      else {
        targets.push(target)
        const implemented = TYPES_OF[room]?.includes(target) && !runtimeModulesOf(code).includes(module)
        if (allowed && !implemented && !allowed.includes(roomOf(target)) && !allowed.includes(target))
          found.push(`${file}: ${room} may not import ${target}`)
      }
    }
    imports.set(file, targets)
    for (const rule of ONLY_IN) if (rule.pattern.test(code) && !rule.in.test(file)) found.push(`${file}: ${rule.what}`)
  }
  return [...found, ...cycles(imports)]
}

function roomOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : file
}

function withoutComments(text: string): string {
  return text.replace(/(^|\s)\/\*[\s\S]*?\*\//g, '$1').replace(/(^|\s)\/\/.*$/gm, '$1')
}

/** What a file imports, however it is written: import, import type, export … from, import(). */
function modulesOf(code: string): string[] {
  const patterns = [
    /^\s*(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]/gm,
    /^\s*import\s*['"]([^'"]+)['"]/gm,
    /\bimport\(\s*['"]([^'"]+)['"]/g,
    /\brequire\(\s*['"]([^'"]+)['"]/g,
  ]
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1]!))
}

/** What a file imports when it runs: all but `import type` and `export type`. */
function runtimeModulesOf(code: string): string[] {
  return modulesOf(code.replace(/^\s*(?:import|export)\s+type\b[^'"`;()]*?\bfrom\s*['"][^'"]+['"]/gm, ''))
}

function cycles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>()
  const found: string[] = []
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) {
      found.push(`a cycle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
      return
    }
    if (done.has(file)) return
    for (const target of imports.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of imports.keys()) visit(file, [])
  return found
}

function readTree(): Tree {
  const files = readdirSync(SRC, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /\.[cm]?[jt]sx?$/.test(entry.name),
  )
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return [relative(SRC, path).split(sep).join('/'), readFileSync(path, 'utf8')]
    }),
  )
}

describe('src', () => {
  const tree = readTree()

  test('is read whole, and its imports are seen', () => {
    for (const file of [
      'index.ts',
      'instance/holdfast.ts',
      'time/clock.ts',
      'cache/graceful-cache.ts',
      'auth/require-auth.ts',
    ])
      expect(Object.keys(tree)).toContain(file)
    expect(modulesOf(withoutComments(tree['instance/holdfast.ts']!))).toEqual(
      expect.arrayContaining(['../auth/auth-error.ts', '../cache/graceful-cache.ts', '../discord/discord-fetch.ts']),
    )
    const seen = Object.values(tree).flatMap((text) => modulesOf(withoutComments(text)))
    const written = Object.values(tree).flatMap((text) => [
      ...text.matchAll(/^(?:import|\} from|export .* from) .*'$/gm),
    ])
    expect(seen.length).toBeGreaterThan(100)
    expect(seen.length).toBeGreaterThanOrEqual(written.length * 0.9)
  })

  test('keeps to its design: who may import whom, and who may touch time, network and ciphers', () => {
    expect(violations(tree)).toEqual([])
  })
})

describe('the check', () => {
  const HOUSE: Tree = {
    'time/clock.ts': 'export const now = () => Date.now() + performance.now()\nsetTimeout(now, 1)\n',
    'secrets/key-ring.ts': "import { hash } from 'node:crypto'\n",
    'errors/errors.ts': "import type { Clock } from '../time/clock.ts'\n",
    'discord/fleet.ts': 'export interface Fleet {}\n',
    'redis/board.ts': "import type { Fleet } from '../discord/fleet.ts'\n",
    'cache/cache.ts': "import { a } from '../errors/errors.ts'\nexport const at = new Date(0)\n",
    'discord/transport.ts': "import { Pool } from 'undici'\n",
    'doors/web.ts': "import '../instance/holdfast.ts'\nimport type { G } from '../guard/guard.ts'\n",
    'guard/guard.ts': 'export interface G {}\n',
    'simulator/virtual-clock.ts': "import type { Clock } from '../time/clock.ts'\nsetImmediate(() => {})\n",
    'simulator/server.ts': "import { createServer } from 'node:http'\nimport { hash } from 'node:crypto'\n",
    'cli/main.ts': "import { startSimulator } from 'holdfast/simulator'\nimport 'holdfast'\n",
    'instance/holdfast.ts': "import '../cache/cache.ts'\nimport '../discord/transport.ts'\n",
    'index.ts': "export * from './instance/holdfast.ts'\nexport type { A } from './errors/errors.ts'\n",
  }

  test('finds nothing in a house that keeps to the design', () => {
    expect(violations(HOUSE)).toEqual([])
  })

  test.each<[string, Tree, string]>([
    [
      'a room that imports another',
      { 'cache/b.ts': "import { x } from '../discord/transport.ts'" },
      'cache may not import',
    ],
    ['… for its types alone', { 'auth/b.ts': "import type { X } from '../cache/cache.ts'" }, 'auth may not import'],
    ['… over several lines', { 'auth/b.ts': "import {\n  x,\n  type Y,\n} from '../cache/cache.ts'" }, 'auth may not'],
    ['… by re-exporting', { 'auth/b.ts': "export { x } from '../cache/cache.ts'" }, 'auth may not import'],
    ['… by re-exporting all', { 'auth/b.ts': "export * from '../cache/cache.ts'" }, 'auth may not import'],
    ['… dynamically', { 'auth/b.ts': "const x = await import('../cache/cache.ts')" }, 'auth may not import'],
    ['… in the type of something', { 'auth/b.ts': "let x: import('../cache/cache.ts').X" }, 'auth may not import'],
    ['… for its effects', { 'auth/b.ts': "import '../cache/cache.ts'" }, 'auth may not import'],
    ['a dynamic import of who knows what', { 'auth/b.ts': 'await import(name)' }, 'not written out'],
    ['a foundation importing a room', { 'time/b.ts': "import '../cache/cache.ts'" }, 'time may not import'],
    ['a foundation importing a door', { 'errors/b.ts': "import '../doors/web.ts'" }, 'errors may not import'],
    [
      'a door importing a room that is none of its own',
      { 'doors/b.ts': "import '../cache/cache.ts'" },
      'doors may not',
    ],
    ['a room importing a door', { 'guard/b.ts': "import '../doors/web.ts'" }, 'guard may not import'],
    ['the browser importing a foundation', { 'browser/b.ts': "import '../errors/errors.ts'" }, 'browser may not'],
    ['a file beside index.ts', { 'stray.ts': '' }, 'no row'],
    ['a room importing the line', { 'auth/b.ts': "import '../instance/holdfast.ts'" }, 'auth may not import instance'],
    ['a room importing index.ts', { 'auth/b.ts': "import '../index.ts'" }, 'auth may not import index.ts'],
    ['a room importing the package', { 'auth/b.ts': "import 'holdfast'" }, 'may not import holdfast'],
    [
      'the simulator importing errors',
      { 'simulator/b.ts': "import '../errors/errors.ts'" },
      'simulator may not import',
    ],
    ['the cli importing the clock', { 'cli/b.ts': "import '../time/clock.ts'" }, 'cli may not import time/clock.ts'],
    ['the cli importing the line', { 'cli/b.ts': "import '../instance/holdfast.ts'" }, 'cli may not import instance'],
    ['the line importing the simulator', { 'instance/b.ts': "import '../simulator/server.ts'" }, 'instance may not'],
    ['an import from outside src', { 'auth/b.ts': "import '../../test/x.ts'" }, 'outside src'],
    ['an import of a file that is not there', { 'auth/b.ts': "import './gone.ts'" }, 'not there'],
    [
      'redis importing what another room does',
      { 'redis/b.ts': "import { x } from '../cache/cache.ts'" },
      'redis may not',
    ],
    [
      '… or an interface it implements, at run time',
      { 'cache/shared-tier.ts': '', 'redis/b.ts': "import { x } from '../cache/shared-tier.ts'" },
      'redis may not',
    ],
    [
      'the client library outside redis/link.ts',
      { 'redis/b.ts': "import '@keyv/redis'" },
      'may not import @keyv/redis',
    ],
    ['a room without a row', { 'attic/b.ts': '' }, 'no row'],
    [
      'a cycle',
      { 'time/a.ts': "import './b.ts'", 'time/b.ts': "import './c.ts'", 'time/c.ts': "import './a.ts'" },
      'time/a.ts → time/b.ts → time/c.ts',
    ],
    [
      'a cycle of types',
      { 'time/a.ts': "import type { B } from './b.ts'", 'time/b.ts': "export type { A } from './a.ts'" },
      'cycle',
    ],
    ['a file that imports itself', { 'time/a.ts': "import './a.ts'" }, 'time/a.ts → time/a.ts'],
    ['a timer in the browser outside its clock', { 'browser/b.ts': 'setTimeout(f, 1)' }, 'sets a timer'],
    ['fetch in the browser outside its client', { 'browser/b.ts': 'globalThis.fetch(url)' }, 'calls the network'],
    ['node: in browser', { 'browser/b.ts': "import { x } from 'node:events'" }, 'may not import node:events'],
    ['Date.now', { 'cache/b.ts': 'const t = Date.now()' }, 'reads the time'],
    ['Date.now as a value', { 'cache/b.ts': 'const now = Date.now' }, 'reads the time'],
    ['new Date()', { 'cache/b.ts': 'const t = new Date()' }, 'reads the time'],
    ['new Date', { 'cache/b.ts': 'const t = new Date\n' }, 'reads the time'],
    ['performance.now', { 'simulator/b.ts': 'performance.now()' }, 'reads the time'],
    ['setTimeout', { 'cache/b.ts': 'setTimeout(f, 1)' }, 'sets a timer'],
    ['setInterval', { 'simulator/b.ts': 'globalThis.setInterval(f, 1)' }, 'sets a timer'],
    ['setImmediate', { 'simulator/b.ts': 'setImmediate(f)' }, 'sets a timer'],
    ['Date()', { 'cache/b.ts': 'const text = Date()' }, 'reads the time'],
    ['AbortSignal.timeout', { 'cache/b.ts': 'AbortSignal.timeout(1)' }, 'sets a timer'],
    ['timers/promises', { 'cache/b.ts': "import { setTimeout as wait } from 'node:timers/promises'" }, 'node:timers'],
    ['undici', { 'discord/b.ts': "import { request } from 'undici'" }, 'may not import undici'],
    ['node:http', { 'auth/b.ts': "import { get } from 'node:http'" }, 'may not import node:http'],
    ['node:tls', { 'auth/b.ts': "import type { X } from 'node:tls'" }, 'may not import node:tls'],
    ['http without node:', { 'auth/b.ts': "import { get } from 'http'" }, 'may not import http'],
    ['fetch', { 'auth/b.ts': 'const x = await fetch(url)' }, 'calls the network'],
    ['fetch as a value', { 'auth/b.ts': 'const options = { customFetch: fetch }' }, 'calls the network'],
    ['globalThis.fetch', { 'auth/b.ts': 'globalThis.fetch(url)' }, 'calls the network'],
    ['node:crypto', { 'auth/b.ts': "import { hash } from 'node:crypto'" }, 'may not import node:crypto'],
    ['a file named utils', { 'cache/utils.ts': '' }, 'the name utils says nothing'],
    ['a folder named shared', { 'cache/shared/entry.ts': '' }, 'the name shared says nothing'],
    ['a file named types', { 'guard/types.ts': '' }, 'the name types says nothing'],
  ])('finds %s', (_name, more, expected) => {
    const found = violations({ ...HOUSE, ...more })
    expect(found.filter((violation) => violation.includes(expected))).not.toEqual([])
  })

  test.each<[string, string]>([
    [
      'a comment about new Date() and fetch(url)',
      '/** Uses Date.now() and fetch(url). */\n// setTimeout(x)\nlet a = 1 // new Date()',
    ],
    ['a comment that shows an import', "/**\n * import { x } from '../discord/transport.ts'\n */\n"],
    ['a method named fetch', 'class A {\n  async fetch(path: string) { return this.fetch(path) }\n}'],
    ['a date made from a number', 'new Date(this.#clock.now())'],
    ['the names of the rooms in a text', "const text = 'from cache to discord'"],
  ])('does not mind %s', (_name, text) => {
    expect(violations({ ...HOUSE, 'cache/b.ts': text })).toEqual([])
  })
})
