import { appendFileSync } from 'node:fs'

/** A figure that a bench has to reach: printed with its target, and remembered for the exit code. */
export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The most it may be, or with `atLeast` the least. */
  readonly target: number
  readonly atLeast?: boolean
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/** Prints a table; the first column is left-aligned, the others right. */
export function table(head: readonly string[], rows: ReadonlyArray<ReadonlyArray<string | number>>): void {
  const cells = [head, ...rows.map((row) => row.map(text))]
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ')
  console.log(line(cells[0]!))
  console.log(widths.map((width) => '─'.repeat(width)).join('  '))
  for (const row of cells.slice(1)) console.log(line(row))
}

/** Prints each figure beside its target, and makes the process fail where one is missed. `npm run bench` keeps them all. */
export function judge(figures: readonly Figure[]): void {
  console.log('')
  for (const { name, value, unit, target, atLeast = false } of figures) {
    const reached = atLeast ? value >= target : value <= target
    if (!reached) process.exitCode = 1
    const [measured, bound] = [`${text(value)} ${unit}`.trim(), `${atLeast ? 'at least' : 'at most'} ${target}`]
    console.log(`${reached ? '✓' : '✗'} ${name}: ${measured} (${bound})`)
    const kept = process.env.HOLDFAST_FIGURES
    if (kept) appendFileSync(kept, `${JSON.stringify({ figure: name, measured, target: bound, reached })}\n`)
  }
}

function text(value: string | number): string {
  if (typeof value === 'string') return value
  if (Number.isInteger(value)) return String(value)
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3)
}

/**
 * The median time of one call of each contestant, in nanoseconds. Rounds are interleaved, so that what the machine does
 * beside falls on all of them; the first rounds only warm up.
 */
export async function race(
  contestants: Readonly<Record<string, () => unknown>>,
  options: { readonly rounds?: number; readonly calls?: (name: string) => number } = {},
): Promise<Record<string, number>> {
  const { rounds = 15, calls = () => 100_000 } = options
  const times: Record<string, number[]> = {}
  for (let round = -3; round < rounds; round++) {
    for (const [name, call] of Object.entries(contestants)) {
      const count = calls(name)
      const began = process.hrtime.bigint()
      for (let index = 0; index < count; index++) await call()
      const tookNs = Number(process.hrtime.bigint() - began) / count
      if (round >= 0) (times[name] ??= []).push(tookNs)
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)]))
}
