interface Age {
  readonly days: number
  readonly users: number
}

/** Days are gathered into so many bars at most. */
const BARS = 15
const LONGEST_BAR = 40
const WIDTH = 640
const HEIGHT = 220
const BASE = 180

interface Bar {
  readonly label: string
  readonly users: number
}

/** Users by how long ago they were verified, in bars of one or several days. */
export function ageGroups(ages: readonly Age[]): Bar[] {
  const oldest = Math.max(0, ...ages.map(({ days }) => days))
  const perBar = Math.ceil((oldest + 1) / BARS)
  const bars = Array.from({ length: Math.ceil((oldest + 1) / perBar) }, (_, index) => {
    const from = index * perBar
    const users = ages
      .filter(({ days }) => days >= from && days < from + perBar)
      .reduce((sum, { users }) => sum + users, 0)
    return { label: perBar === 1 ? String(from) : `${from}–${from + perBar - 1}`, users }
  })
  return bars
}

/** The same for a terminal. */
export function ageBars(ages: readonly Age[]): string {
  const groups = ageGroups(ages)
  const most = Math.max(1, ...groups.map(({ users }) => users))
  const width = Math.max(...groups.map(({ label }) => label.length), 4)
  const lines = groups.map(({ label, users }) => {
    const bar = '█'.repeat(users === 0 ? 0 : Math.max(1, Math.round((users / most) * LONGEST_BAR)))
    return `${label.padStart(width)}  ${bar}${bar ? ' ' : ''}${users}`
  })
  return [`${'days'.padStart(width)}  users by days since their last fetch`, ...lines].join('\n')
}

/** The same as SVG. */
export function agePlot(ages: readonly Age[]): string {
  const groups = ageGroups(ages)
  const most = Math.max(1, ...groups.map(({ users }) => users))
  const step = (WIDTH - 20) / groups.length
  const bars = groups.map(({ label, users }, index) => {
    const x = 10 + index * step
    const height = (users / most) * (BASE - 40)
    const middle = (x + step / 2).toFixed(1)
    return `<rect x="${x.toFixed(1)}" y="${(BASE - height).toFixed(1)}" width="${(step - 2).toFixed(1)}" height="${height.toFixed(1)}" fill="#2f9e77"/>
<text x="${middle}" y="${BASE + 16}" text-anchor="middle">${label}</text>
<text x="${middle}" y="${(BASE - height - 5).toFixed(1)}" text-anchor="middle">${users}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Users by days since their last fetch">
<style>text{font:12px system-ui,sans-serif;fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>
<text x="10" y="16">users, by days since their last fetch</text>
${bars.join('\n')}
</svg>
`
}
