// Writes the reference pages from the source: npm run docs. A test fails where a page is not what this writes.
import { readFileSync, writeFileSync } from 'node:fs'
import { NUMBERS, RATE_LIMIT_NUMBERS, TEXTS } from '../../src/config/config.ts'
import { ERROR_CODES } from '../../src/errors/error-codes.ts'
import { REDIS_CHANNELS, REDIS_KEYS } from '../../src/redis/keys.ts'

const NOTE = '<!-- Written by `npm run docs` from the source. Change the source. -->\n'

function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const cell = (text: string) => text.replaceAll('|', '\\|')
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')
}

/** Defaults that are not a number. */
const PRESETS: Readonly<Record<string, string>> = {
  'cache.maxBytes': 'a quarter of the heap limit',
  maxAnon: '`RATE_LIMIT_MAX`',
}

function configuration(): string {
  const plural = (value: number, unitName: string) =>
    `${value.toLocaleString('en-US').replaceAll(',', ' ')} ${unitName}`
  const numbers = Object.entries({ ...NUMBERS, ...RATE_LIMIT_NUMBERS }).map(([option, setting]) => {
    const {
      variable,
      unit = 1,
      unitName,
      min,
      max,
      fallback,
    } = setting as {
      variable?: string
      unit?: number
      unitName: string
      min: number
      max: number
      fallback: number
    }
    const preset = PRESETS[option] ?? plural(fallback / unit, unitName)
    return [
      variable ? `\`${variable}\`` : '–',
      option in RATE_LIMIT_NUMBERS ? '–' : `\`${option}\``,
      preset,
      `${plural(min / unit, '').trim()} to ${plural(max / unit, '').trim()}`,
      option.endsWith('Ms') && unit !== 1 ? `${unitName}; the option is in milliseconds` : unitName,
    ]
  })
  const texts = Object.entries(TEXTS).map(([option, { variable, secret }]) => [
    `\`${variable}\``,
    `\`${option}\``,
    option === 'discord.baseUrl' ? "Discord's v10 API" : '–',
    secret ? 'a secret; never shown' : '',
  ])
  return `# Configuration
${NOTE}
Options given to \`createHoldfast\` beat environment variables, which beat defaults. A value that cannot be used is a
\`ConfigError\` when the instance is made; so is a variable that is set and empty. \`npx holdfast doctor\` checks them all.

## Numbers

${table(['variable', 'option', 'default', 'from … to', 'unit'], numbers)}

## Texts

${table(['variable', 'option', 'default', ''], texts)}

## Only as options

${docsOf('src/config/config.ts', 'HoldfastOptions', ['session', 'logger', 'clock', 'random', 'retryOn'])}

## Database

\`DATABASE_URL\`, or option \`database\`, is \`sqlite:PATH\`, \`sqlite::memory:\` or a \`postgres://\` URL;
\`HOLDFAST_SECRET\` is needed with it. It is where key vaults keep their keys.

## Redis

\`REDIS_URL\` is a \`redis://\` or \`rediss://\` URL; \`HOLDFAST_SECRET\` is needed with it. Option \`redis\` is such a URL, or an
object of:

${docsOf('src/config/config.ts', 'RedisOptions', ['url', 'cluster', 'namespace', 'readTimeoutMs', 'writeTimeoutMs'], 'type')}

## Secrets

| variable | option | |
| --- | --- | --- |
| \`HOLDFAST_SECRET\` | \`secret\` | at least 32 bytes; seals and names what is kept outside the process |
| \`HOLDFAST_SECRET_PREVIOUS\` | the second of a list | what was sealed under it can still be opened; drop it when the stale time has passed |
`
}

/** The first line of the docstrings of some properties of an interface. */
function docsOf(
  file: string,
  name: string,
  wanted: readonly string[],
  kind: 'interface' | 'type' = 'interface',
): string {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const body = text.slice(text.indexOf(`export ${kind} ${name}`))
  const rows = wanted.map((property) => {
    const found = new RegExp(`(?:/\\*\\* ([^\\n]*?) \\*/\\s*)?\\b${property}\\??: ([^\\n}]+)`).exec(body)
    if (!found) throw new Error(`${name} has no ${property}`)
    return [`\`${property}\``, `\`${found[2]!.trim()}\``, found[1] ?? '']
  })
  return table(['option', 'type', ''], rows)
}

function errors(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, [thrownAs, meaning, whatToDo]]) => [
    `\`${code}\``,
    `\`${thrownAs}\``,
    meaning,
    whatToDo,
  ])
  return `# Errors
${NOTE}
Every error of Holdfast is a \`HoldfastError\` with a stable \`code\`, a message that says what to do, and \`retryAfterMs\`
where waiting helps. Match on \`code\`: it survives two copies of the package. A caller that aborts gets its own
\`signal.reason\`.

${table(['code', 'class', 'what it means', 'what to do'], rows)}
`
}

function events(): string {
  const text = readFileSync(new URL('../../src/events/events.ts', import.meta.url), 'utf8')
  const union = text.slice(text.indexOf('export type HoldfastHappening'), text.indexOf('/** Where log lines go'))
  const rows: string[][] = []
  for (const [, doc, fields] of union.matchAll(/\/\*\* ([^*]+?) \*\/\s*\| \{([^}]*)\}/g)) {
    const types = [...(/type: ([^\n;]+)/.exec(fields!)?.[1] ?? '').matchAll(/'([^']+)'/g)].map((match) => match[1]!)
    const rest = [...fields!.matchAll(/readonly (\w+\??): ([^\n;]+)/g)]
      .filter((match) => match[1] !== 'type')
      .map((match) => `\`${match[1]}: ${match[2]!.trim()}\``)
    rows.push([types.map((type) => `\`${type}\``).join(', '), rest.join(', '), doc!])
  }
  if (rows.length === 0) throw new Error('no event was found in src/events.ts')
  return `# Events
${NOTE}
\`holdfast.on((event) => …)\` receives every event until the function it returns is called. Each has \`at\`, the wall clock
in epoch milliseconds. No event holds a token, an id or a query.

${table(['type', 'fields', 'when'], rows)}
`
}

function redis(): string {
  const code = (text: string) => `\`${text}\``
  return `# What is in Redis
${NOTE}
Every key and channel begins with \`holdfast:1:<namespace>:<application id>:\`; where Discord is not at its usual address,
the application id (\`app\` without one) is followed by \`@\` and a short hash of where it is. \`1\` is the layout: another one is not looked at.

## Keys

${table(
  ['key', 'holds', 'lasts'],
  Object.values(REDIS_KEYS).map(([pattern, holds, lasts]) => [code(pattern), holds, lasts]),
)}

Sealed is AES-256-GCM under a key derived (HKDF) from \`HOLDFAST_SECRET\`; the full key name, the header and the codec's
version are authenticated with it, so a value that was copied, swapped or edited is not there. The header is
\`1\`, \`v\` or \`g\` (gone), the microsecond of Redis's clock at which the load began (16 digits), a space, and the epoch.

## Channels

${table(
  ['channel', 'carries'],
  Object.values(REDIS_CHANNELS).map(([pattern, carries]) => [code(pattern), carries]),
)}
`
}

/** Every page with its text. */
export const pages: Readonly<Record<string, () => string>> = {
  'configuration.md': configuration,
  'errors.md': errors,
  'events.md': events,
  'redis.md': redis,
}

if (process.argv[1] === import.meta.filename)
  for (const [file, write] of Object.entries(pages)) writeFileSync(new URL(file, import.meta.url), write())
