import { readFileSync } from 'node:fs'
import { wrapped } from './terminal.ts'

/** A command of the command line. Loaded when it is asked for, with whatever it needs. */
interface Command {
  readonly summary: string
  /** Its words, one a line. */
  readonly words?: string
  readonly load: () => Promise<(words: readonly string[]) => Promise<number>>
}

const STORY_WORDS = `--seconds N   length of each of the two runs, 10 to 90 (default 30)
--users N     how many users open pages, 1 to 1000 (default 200)
--seed N      the same seed makes the same users and visits (default 1)
--plot FILE   also draw what users got, as SVG`

const LEDGER_WORDS = `--json        as JSON
--plot FILE   also draw how old it is, as SVG
export USER   everything held of one user, as JSON
delete USER   delete it
refresh       fetch anew what is old; stop it at any time, run several at once:
  --hours N     what is older than this (default 24)
  --limit N     users at most (default 100000)
  --at-once N   calls under way at a time (default 10)
  --tokens FILE a module whose default export gives a user's access token, or null
                (default: the tokens of the sign-in)`

const COMMANDS: Readonly<Record<string, Command>> = {
  start: {
    summary: 'open the dashboard, and play an outage over real HTTP, with and without Holdfast',
    words: `--once        only the outage, as story; the words of story hold as well
PORT in the environment: where the dashboard is (default 3000)`,
    load: async () => (await import('./start.ts')).start,
  },
  story: {
    summary: 'the outage in the terminal',
    words: STORY_WORDS,
    load: async () => (await import('./start.ts')).story,
  },
  init: {
    summary: 'write sign-in, one guarded route and .env.example into a Next, Express, Fastify or Hono project',
    words: `--framework N next, express, fastify or hono, where package.json names several
--yes         do not ask. What is there is never overwritten, with it or without`,
    load: async () => (await import('./init.ts')).init,
  },
  simulate: {
    summary: 'run a Discord to test against',
    words: `--port N --host ADDRESS --users N --guilds N --latency MS --seed N
--fault 429:P or a fault's name, P from 0 to 1; may come several times`,
    load: async () => (await import('./simulate.ts')).simulate,
  },
  doctor: {
    summary: 'check the configuration, and say what to change',
    words: `--json        the findings as JSON
--env FILE    variables that are not in the environment (default .env, where there is one)`,
    load: async () => (await import('./doctor.ts')).doctor,
  },
  guard: {
    summary: 'the rate limits as the guard reads them; which of them a path has, and why',
    words: `FILE          a module whose export rules, guard or default is the rules, or the guard's options
PATH          /api/chat or 'POST /api/chat'; without one, all rules`,
    load: async () => (await import('./guard.ts')).guard,
  },
  ledger: {
    summary: "what is known of users' guilds, in the database of DATABASE_URL",
    words: LEDGER_WORDS,
    load: async () => (await import('./ledger.ts')).ledger,
  },
}

const EXIT_CODES = `Exit codes: 0 all is well · 1 something has to change, or went wrong · 2 there is no such command.`

/** Runs what the words ask for; resolves to the exit code. What a command throws becomes one sentence. */
export async function run([name = 'help', ...words]: readonly string[]): Promise<number> {
  if (['help', '--help', '-h'].includes(name)) {
    process.stdout.write(usage())
    return 0
  }
  if (['--version', '-v', 'version'].includes(name)) {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    process.stdout.write(`${version}\n`)
    return 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) {
    process.stderr.write(`holdfast: unknown command ${name}\n\n${usage()}`)
    return 2
  }
  if (words.includes('--help') || words.includes('-h')) {
    process.stdout.write(
      `holdfast ${name}: ${command.summary}\n${command.words ? `\n${indented(command.words, 2)}\n` : ''}`,
    )
    return 0
  }
  try {
    return await (await command.load())(words)
  } catch (error) {
    process.stderr.write(`holdfast ${name}: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

function usage(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length)) + 3
  const commands = Object.entries(COMMANDS).map(
    ([name, { summary, words }]) =>
      `  ${name.padEnd(width)}${summary}\n${words ? `${indented(words, width + 5)}\n` : ''}`,
  )
  return `holdfast <command>          --help after a command: its words · --version\n\n${commands.join('')}\n${wrapped(EXIT_CODES)}\n`
}

function indented(text: string, by: number): string {
  return text.replace(/^/gm, ' '.repeat(by))
}
