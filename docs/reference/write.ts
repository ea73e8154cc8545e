// Writes the reference pages from the source: npm run docs. A test fails where a page is not what this writes.
import { readFileSync, writeFileSync } from 'node:fs'
import { REFUSAL_REASONS } from '../../src/auth/refusal-reasons.ts'
import type { OptionTable } from '../../src/config/options.ts'
import { RATE_LIMIT_NUMBERS } from '../../src/config/settings.ts'
import { ERROR_CODES } from '../../src/errors/error-codes.ts'
import { TRACED_STEPS } from '../../src/events/trace.ts'
import { METRICS, type Metric } from '../../src/metrics/metrics.ts'
import { REDIS_CHANNELS, REDIS_KEYS } from '../../src/redis/keys.ts'
import { OPTION_TABLES } from './option-tables.ts'
import { simulatorPage } from './simulator-page.ts'

const NOTE = '<!-- Written by `npm run docs` from the source. Change the source. -->\n'

function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const cell = (text: string) => text.replaceAll('|', '\\|')
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')
}

function configuration(): string {
  const variables = Object.values(RATE_LIMIT_NUMBERS).map(({ variable, unitName, min, max, fallback }) => [
    `\`${variable}\``,
    unitName,
    fallback === 0 ? '`RATE_LIMIT_MAX`' : String(fallback),
    `${min} to ${max}`,
  ])
  return `# Configuration
${NOTE}
Options beat environment variables, which beat defaults. An option that cannot be used, and one that does not exist, is a
\`ConfigError\` that names it, what is accepted and the nearest right name; for options of single calls a \`HoldfastError\`
with code \`INVALID_OPTION\`. A variable that is set and empty cannot be used. An option that is there and \`undefined\` counts
as not given, but where it decides access: there it is refused (marked †). \`npx holdfast doctor\` checks the environment.

A variable may have its own unit: \`DISCORD_GUILD_CACHE_FRESH_MINUTES\` is minutes, \`DISCORD_GUILD_CACHE_STALE_HOURS\` hours;
options are in milliseconds wherever their name ends in \`Ms\`.
${OPTION_TABLES.map(({ of, table: options }) => `\n## ${of}\n\n${tableWithoutRepeats(of, options)}\n`).join('')}
## The guard's default rule

${table(['variable', 'unit', 'default', 'from … to'], variables)}

## Secrets

\`HOLDFAST_SECRET\` (or option \`secret\`) has at least 32 bytes. It is required with Redis, a database or a key vault.
\`HOLDFAST_SECRET_PREVIOUS\` (the second of a list) still opens what was sealed under it; drop it when the stale time has passed.
`
}

/** A door takes the options of what it opens: those are named, and only its own and those it changes are written out. */
function tableWithoutRepeats(of: string, options: OptionTable): string {
  const base = OPTION_TABLES.find(
    (other) =>
      other.of !== of && Object.keys(other.table).every((name) => name in options) && sharesMost(other.table, options),
  )
  if (!base) return optionTable(options)
  const own = Object.entries(options).filter(([name, option]) => base.table[name] !== option)
  return `All options of \`${base.of}\`, and:\n\n${optionTable(Object.fromEntries(own))}`
}

function sharesMost(base: OptionTable, options: OptionTable): boolean {
  const names = Object.keys(base)
  return names.length > 10 && names.filter((name) => base[name] === options[name]).length > names.length * 0.8
}

/** The options of a function as rows; those within an option by their path. */
function optionTable(options: OptionTable): string {
  const rows = (of: OptionTable, path: string): string[][] =>
    Object.entries(of).flatMap(([name, { means, accepts, preset, variable, required, refuseUndefined, within }]) => [
      [
        `\`${path}${name}\`${refuseUndefined ? ' †' : ''}`,
        accepts.words,
        required ? 'required' : (preset ?? '–'),
        variable ? `\`${variable}\`` : '–',
        means,
      ],
      ...(within ? rows(within, `${path}${name}.`) : []),
    ])
  return table(['option', 'accepts', 'default', 'variable', 'what it does'], rows(options, ''))
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

## What the logger hears

With \`logger\`, without a listener: each retry (debug); once a minute a cause, with a \`count\`, what users feel or may come
to feel (warn): stale values, 429s and blocks, failed loads that are not about one user's token, what Redis, the store or
the ledger's database could not do and how slow the latter is, fetches it does not keep, guilds that came out of it,
refusals that look like a setting or like Discord, load, and a breaker that opens; and that it is over (info). What is
wrong with the app is an error. That a limit is spent or somebody is signed out is in the events alone. No line holds an
id, a key or a token.

## Why a request was refused

The \`reason\` of \`auth.refused\`, of \`AuthError\` and of the option \`refusal\`. A refusal with an unexpected cause (†) is
also an error in the log, once a minute a kind, without what could be an id or a token.

${table(
  ['reason', 'code', 'what happened'],
  Object.entries(REFUSAL_REASONS).map(([reason, meaning]) => [
    `\`${reason}\`${'unexpected' in meaning ? ' †' : ''}`,
    `\`${meaning.code}\``,
    meaning.means,
  ]),
)}
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
\`2\`, \`v\` (\`z\`: compressed, \`g\`: gone), the microsecond of Redis's clock at which the load began (16 digits), the epoch,
and until when it is remembered that something there was invalidated (16 digits; 0: nothing was), with spaces between.

## Channels

${table(
  ['channel', 'carries'],
  Object.values(REDIS_CHANNELS).map(([pattern, carries]) => [code(pattern), carries]),
)}
`
}

function metrics(): string {
  const rows = (Object.values(METRICS) as readonly Metric[]).map(({ name, kind, labels, help }) => [
    `\`${name}\``,
    kind,
    labels.map((label) => `\`${label}\``).join(', ') || '–',
    help,
  ])
  return `# Metrics
${NOTE}
\`registerMetrics(holdfast, registry)\` of \`holdfast/prometheus\` adds these to a registry of \`prom-client\`. Of several instances
on one registry counters and what is held add up. No label holds an id, an owner, a path or an address.

${table(['metric', 'kind', 'labels', 'what it counts'], rows)}

\`instrument(holdfast)\` of \`holdfast/opentelemetry\` makes spans of the same steps: ${TRACED_STEPS.map((step) => `\`${step}\``).join(', ')}. They are
\`holdfast:<step>\` for subscribers of \`node:diagnostics_channel\` (\`tracingChannel('holdfast:require-auth')\`); where nobody
subscribes a step costs one comparison.
`
}

/** The options of what runs in a page, from the docstrings of their interfaces. */
function browser(): string {
  const options = (file: string, name: string) => {
    const text = readFileSync(new URL(`../../src/browser/${file}`, import.meta.url), 'utf8')
    const begin = text.indexOf(`export interface ${name}`)
    const body = text.slice(begin, text.indexOf('\n}', begin))
    const rows = [...body.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(\w+)\??: ([^\n]+)/g)].map(
      ([, doc, option, type]) => [
        `\`${option}\``,
        `\`${type!.replace('globalThis.', '')}\``,
        doc!.replace(/\s*\n\s*\* ?/g, ' ').trim(),
      ],
    )
    if (rows.length < 3) throw new Error(`the options of ${name} were not found`)
    return table(['option', 'type', 'what it does'], rows)
  }
  return `# In the browser
${NOTE}
What \`holdfast/browser\` and \`holdfast/react\` take; [the guide](../guides/browser.md) says what comes of it. Times are in
milliseconds. An unknown name or a value out of range throws \`ApiError\` with the code \`CONFIG_INVALID\`.

## createApiClient

${options('api-client.ts', 'ApiClientOptions')}

## autosave, useAutosave

${options('autosave.ts', 'AutosaveOptions<T>')}

## poll, usePoll

${options('poll.ts', 'PollOptions<T>')}
`
}

/** Every page with its text. */
export const pages: Readonly<Record<string, () => string>> = {
  'browser.md': browser,
  'configuration.md': configuration,
  'errors.md': errors,
  'events.md': events,
  'metrics.md': metrics,
  'redis.md': redis,
  'simulator.md': () => simulatorPage(NOTE, table),
}

if (process.argv[1] === import.meta.filename)
  for (const [file, write] of Object.entries(pages)) writeFileSync(new URL(file, import.meta.url), write())
