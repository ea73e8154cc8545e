import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** A command of the built package that runs in a process of its own, with nothing of our environment but the PATH. */
export interface Command {
  readonly pid: number
  /** What was printed so far. */
  readonly out: string
  readonly err: string
  /** Resolves to the exit code once the process has ended. */
  readonly exit: Promise<number | null>
  /** Resolves to the match once something like it was printed. Rejects if the process ends before. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
  [Symbol.asyncDispose](): Promise<void>
}

export function holdfast(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  cwd?: string,
): Command {
  const child = spawn(process.execPath, [MAIN, ...words], {
    env: { PATH: process.env.PATH, ...environment },
    ...(cwd !== undefined && { cwd }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { out: '', err: '' }
  const listeners = new Set<() => void>()
  const hear = (where: 'out' | 'err') => (chunk: Buffer) => {
    said[where] += chunk
    for (const listener of listeners) listener()
  }
  child.stdout.on('data', hear('out'))
  child.stderr.on('data', hear('err'))
  const exit = once(child, 'close').then(([code]) => code as number | null)
  return {
    pid: child.pid!,
    get out() {
      return said.out
    },
    get err() {
      return said.err
    },
    exit,
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(said.out)
          if (!match) return
          listeners.delete(look)
          resolve(match)
        }
        listeners.add(look)
        void exit.then((code) => reject(new Error(`ended with ${code} before ${pattern}: ${said.out}${said.err}`)))
        look()
      }),
    kill: (signal) => child.kill(signal),
    async [Symbol.asyncDispose]() {
      // Asked first, so that it can end the processes it has started.
      child.kill('SIGTERM')
      const hung = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await exit
      clearTimeout(hung)
    },
  }
}

/** Runs a command to its end. */
export async function run(words: readonly string[], environment: Readonly<Record<string, string>> = {}, cwd?: string) {
  await using command = holdfast(words, environment, cwd)
  const code = await command.exit
  return { code, out: command.out, err: command.err }
}
