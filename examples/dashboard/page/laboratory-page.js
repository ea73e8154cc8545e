// The control panel, the score and the charts.
import { createChart } from '/charts.js'

const find = (id) => document.getElementById(id)
const KEPT = 120
const VERDICT_SECONDS = 5
const NOW = {
  none: 'Discord answers normally.',
  throttle: 'Discord answers every call with 429 and asks to wait 12 s.',
  ban: 'Discord’s edge has banned our address: 429 for everything, for a minute or more.',
  break: 'Discord answers every call with 503.',
  hang: 'Discord takes calls and never answers.',
}

export function openLaboratory() {
  const charts = [
    createChart(find('chart-errors'), {
      name: 'Pages that failed a second',
      figureOf: ({ errors }) => errors,
      unit: '',
    }),
    createChart(find('chart-slowest'), {
      name: 'Slowest answer',
      figureOf: ({ slowestMs }) => slowestMs / 1000,
      unit: ' s',
    }),
    createChart(find('chart-calls'), { name: 'Calls to Discord a second', figureOf: ({ calls }) => calls, unit: '' }),
  ]
  let samples = []
  const show = (totals) => {
    for (const chart of charts) chart.draw(samples)
    for (const side of ['plain', 'held']) showSide(side, totals[side], samples)
  }
  const stream = new EventSource('/laboratory/stream')
  stream.addEventListener('past', ({ data }) => {
    const past = JSON.parse(data)
    samples = past.samples
    press(past.trouble)
    show(past.totals)
  })
  stream.addEventListener('sample', ({ data }) => {
    const { sample, totals } = JSON.parse(data)
    samples = [...samples, sample].slice(-KEPT)
    press(sample.trouble)
    show(totals)
  })
  for (const button of document.querySelectorAll('[data-trouble]'))
    button.addEventListener('click', () => {
      const { trouble } = button.dataset
      press(trouble)
      void fetch('/laboratory/trouble', { method: 'POST', body: JSON.stringify({ trouble }) })
    })
}

function press(trouble) {
  for (const button of document.querySelectorAll('[data-trouble]'))
    button.setAttribute('aria-pressed', String(button.dataset.trouble === trouble))
  if (find('trouble-now').textContent !== NOW[trouble]) find('trouble-now').textContent = NOW[trouble]
}

function showSide(side, total, samples) {
  const figures = { ...total, shown: total.views - total.errors }
  for (const name of ['errors', 'shown', 'calls', 'limited', 'stale'])
    find(`${side}-${name}`).textContent = figures[name].toLocaleString('en')
  find(`${side}-verdict`).textContent = verdict(samples.slice(-VERDICT_SECONDS).map((sample) => sample[side]))
}

/** What visitors of the last seconds saw, in a sentence. */
function verdict(last) {
  const sum = (name) => last.reduce((total, sample) => total + sample[name], 0)
  const [views, errors, stale] = [sum('views'), sum('errors'), sum('stale')]
  const slowest = Math.max(0, ...last.map(({ slowestMs }) => slowestMs)) / 1000
  if (views === 0 && slowest < 2) return 'Starting…'
  const slow = slowest >= 2 ? ` Visitors wait up to ${slowest.toFixed(0)} s.` : ''
  if (errors > 0) return `${Math.round((100 * errors) / views)} % of pages fail.${slow}`
  if (views === 0) return `No page gets through.${slow}`
  return stale > 0
    ? `Every page is shown; some lists are a little older.${slow}`
    : `Every page is shown, up to date.${slow}`
}
