/** A figure as it stands in bench/RESULTS.md. */
export interface Result {
  readonly bench: string
  readonly figure: string
  readonly measured: string
  readonly target: string
  readonly reached: boolean
  /** The day, and how busy the machine was when the bench began: its load average over the minute before. */
  readonly when: string
}

const HEAD = '| bench | figure | measured | target | | when, and the load before |\n|---|---|---:|---:|---|---|\n'

/** The table that `npm run bench` keeps: what was measured now replaces what these benches said before. */
export function resultsPage(machine: string, before: string, now: readonly Result[]): string {
  const anew = new Set(now.map(({ bench }) => bench))
  const rows = [...readResults(before).filter(({ bench }) => !anew.has(bench)), ...now].sort((a, b) =>
    a.bench < b.bench ? -1 : a.bench > b.bench ? 1 : 0,
  )
  const missed = rows.filter(({ reached }) => !reached).length
  return `# What the benches measured

Written by \`npm run bench\`; a run of some benches replaces their rows. Chance is seeded with 1 wherever a bench draws,
unless its row says how many seeds it ran. ${rows.length} figures, ${missed} missed.

${machine}

${HEAD}${rows.map(line).join('\n')}
`
}

function line({ bench, figure, measured, target, reached, when }: Result): string {
  return `| ${[bench, figure, measured, target, reached ? '✓' : '**✗**', when].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** The rows of a page that `resultsPage` wrote; none of anything else. */
export function readResults(page: string): Result[] {
  return page
    .split('\n')
    .filter((row) => /^\| [a-z]/.test(row) && !row.startsWith('| bench |'))
    .map((row) =>
      row
        .slice(2, -2)
        .split(/ (?<!\\)\| /)
        .map((cell) => cell.replaceAll('\\|', '|')),
    )
    .filter((cells) => cells.length === 6)
    .map(([bench, figure, measured, target, mark, when]) => ({
      bench: bench!,
      figure: figure!,
      measured: measured!,
      target: target!,
      reached: mark === '✓',
      when: when!,
    }))
}
