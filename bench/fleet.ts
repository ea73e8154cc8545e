// Processes of an application, each with an instance of its own on one Redis. A bench forks itself: the parent asks with
// `startMember`, the child answers with `serve`.
import { fork } from 'node:child_process'
import { once } from 'node:events'

/** The same for all members of a fleet. */
export const SECRET = 'a secret of at least thirty-two bytes'

export interface Member {
  /** Asks the process for one of the things it serves. */
  ask<T>(question: string, ...details: unknown[]): Promise<T>
  /** Lets it answer what it was asked, and end. */
  stop(): Promise<void>
}

/** Starts a process of `file`, and waits until it serves. */
export async function startMember(file: string, ...args: unknown[]): Promise<Member> {
  const child = fork(file, [JSON.stringify(args)], { stdio: 'inherit' })
  process.once('exit', () => child.kill('SIGKILL'))
  const open = new Map<number, (answer: never) => void>()
  let questions = 0
  await once(child, 'message')
  child.on('message', ({ id, answer }: { id: number; answer: never }) => {
    open.get(id)?.(answer)
    open.delete(id)
  })
  return {
    ask: (question, ...details) =>
      new Promise((resolve) => {
        const id = ++questions
        open.set(id, resolve)
        child.send({ id, question, details })
      }),
    async stop() {
      const gone = once(child, 'exit')
      // Not a signal: it could overtake the questions that are on their way.
      child.send({ stop: true })
      await gone
    },
  }
}

/** What the parent gave this process, where it is a member. */
export function memberArgs<T extends unknown[]>(): T | undefined {
  return process.send ? JSON.parse(process.argv[2]!) : undefined
}

interface Question {
  readonly id: number
  readonly question: string
  readonly details: unknown[]
  readonly stop?: boolean
}

/** Answers the parent's questions from now on, until it asks for the end. */
export function serve(
  // biome-ignore lint/suspicious/noExplicitAny: whatever the bench asks
  answers: Readonly<Record<string, (...details: any[]) => unknown>>,
  close: () => Promise<void>,
): void {
  const open = new Set<Promise<void>>()
  process.on('message', async ({ id, question, details, stop }: Question) => {
    if (stop) {
      await Promise.all(open)
      await close()
      process.once('disconnect', () => process.exit())
      process.disconnect()
      return
    }
    const answered = Promise.resolve(answers[question]!(...details)).then(
      (answer) => void process.send!({ id, answer }),
    )
    open.add(answered)
    await answered
    open.delete(answered)
  })
  process.send!({})
}

/** Milliseconds on a clock that all processes of the machine share. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
