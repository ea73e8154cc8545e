import { table } from '../../src/cli/terminal.ts'
import type { Standing } from './chaos.ts'

/** A run in the room that is left beside a progress bar. */
export function summary({ steps, requests, slowestMs, violations, answers }: Standing): string {
  const troubles = Object.entries(steps).reduce((sum, [, count]) => sum + count, 0)
  const stale = Object.entries(answers).reduce((sum, [kind, count]) => sum + (kind.includes('stale') ? count : 0), 0)
  const verdict = violations.length === 0 ? 'all right' : `${violations.length} WRONG`
  return `${verdict} · ${requests} requests · ${stale} stale · ${troubles} events · slowest ${slowestMs} ms`
}

/** What happened in a run, and what was wrong with it. */
export function report(standing: Standing): string {
  const { seed, steps, answers, requests, judged, slowestMs, heapBytes, discord, violations, elapsedMs, lateMs } =
    standing
  const counted = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => [name, String(count)])
  const facts = [
    ['requests', String(requests)],
    ['answers held against the rules', String(judged)],
    ['slowest answer of a process that was awake', `${slowestMs} ms`],
    ['calls to Discord', String(discord.calls)],
    ['lists given by it', String(discord.given)],
    ['429s', String(discord.rateLimited)],
    ['other failures', String(discord.failed)],
    ['the processes were late, together and frozen ones too', `${(lateMs.fleet / 1_000).toFixed(1)} s`],
    ['whoever asks was late', `${(lateMs.asking / 1_000).toFixed(1)} s`],
    ['largest heap at the end', `${(heapBytes / 2 ** 20).toFixed(1)} MB`],
  ]
  const parts = [
    table(['what went wrong on purpose', 'times'], counted(steps)),
    table(['answers', 'times'], counted(answers)),
    table([`seed ${seed}, ${(elapsedMs / 1_000).toFixed(0)} s`, ''], facts),
    ...violations
      .slice(0, 20)
      .map(({ at, what, trace }) => [`✗ ${at} ms: ${what}`, ...trace.map((line) => `    ${line}`)].join('\n')),
    violations.length === 0
      ? '✓ no wrong answer, no error without a reason, nothing left behind'
      : `✗ ${violations.length} violations; again with --seed ${seed}`,
  ]
  return parts.join('\n\n')
}
