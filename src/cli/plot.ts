/** What one page view got: when it was asked for, and how it ended. */
export interface Answered {
  readonly atMs: number
  readonly outcome: 'fresh' | 'stale' | 'error'
}

/** One run of the story, as the plot shows it. */
export interface Run {
  readonly title: string
  readonly answers: readonly Answered[]
}

const WIDTH = 860
const PANEL_HEIGHT = 150
const LEFT = 10
const GAP = 46
const BARS = 60
/** Told apart also by who does not see colours well: green and blue are calm and near, red is far from both. */
const COLOURS = { fresh: '#2f9e77', stale: '#6f8fd8', error: '#d1453b' } as const
const OUTCOMES = ['fresh', 'stale', 'error'] as const
const LEGEND = { fresh: 'answered', stale: 'answered, a little older', error: 'an error, or no answer' } as const

/** The runs of the story as an SVG: one panel each, bars of answers by outcome, the phases named on top. */
export function plot(
  runs: readonly Run[],
  phases: ReadonlyArray<{ readonly name: string; readonly share: number; readonly outage: boolean }>,
  lengthMs: number,
): string {
  const height = 40 + runs.length * (PANEL_HEIGHT + GAP) + 24
  const inner = WIDTH - 2 * LEFT
  const parts: string[] = []
  let x = LEFT
  for (const { name, share, outage } of phases) {
    const width = share * inner
    if (outage)
      parts.push(`<rect x="${x}" y="34" width="${width}" height="${height - 64}" fill="#808080" fill-opacity=".12"/>`)
    parts.push(`<text x="${x + width / 2}" y="24" text-anchor="middle">${name}</text>`)
    x += width
  }
  for (const [index, run] of runs.entries()) {
    const top = 40 + GAP - 18 + index * (PANEL_HEIGHT + GAP)
    parts.push(`<text x="${LEFT}" y="${top - 8}" class="title">${run.title}</text>`)
    parts.push(...bars(run, lengthMs, top, inner))
  }
  let legendX = LEFT
  for (const outcome of OUTCOMES) {
    parts.push(`<rect x="${legendX}" y="${height - 19}" width="12" height="12" fill="${COLOURS[outcome]}"/>`)
    parts.push(`<text x="${legendX + 18}" y="${height - 8}">${LEGEND[outcome]}</text>`)
    legendX += 40 + LEGEND[outcome].length * 7.2
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Page views by outcome over the story">
<style>text{font:13px system-ui,sans-serif;fill:#333}.title{font-weight:600}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>
${parts.join('\n')}
</svg>
`
}

function bars(run: Run, lengthMs: number, top: number, inner: number): string[] {
  const counts = Array.from({ length: BARS }, () => ({ fresh: 0, stale: 0, error: 0 }))
  for (const { atMs, outcome } of run.answers) {
    const bar = counts[Math.min(BARS - 1, Math.floor((atMs / lengthMs) * BARS))]
    if (bar) bar[outcome]++
  }
  const most = Math.max(1, ...counts.map((bar) => bar.fresh + bar.stale + bar.error))
  const width = inner / BARS
  return counts.flatMap((bar, index) => {
    let y = top + PANEL_HEIGHT
    return OUTCOMES.filter((outcome) => bar[outcome] > 0).map((outcome) => {
      const barHeight = (bar[outcome] / most) * PANEL_HEIGHT
      y -= barHeight
      return `<rect x="${(LEFT + index * width).toFixed(1)}" y="${y.toFixed(1)}" width="${(width - 1.5).toFixed(1)}" height="${barHeight.toFixed(1)}" fill="${COLOURS[outcome]}"/>`
    })
  })
}
