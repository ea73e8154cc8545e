// Two lines each: plain fetch and Holdfast, over the last two minutes.
import UPlot from '/uplot.js'

const SECONDS = 120
const HEIGHT = 170

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** A chart of one figure of the samples, in an element; `draw(samples)` shows them. */
export function createChart(element, { name, figureOf, unit }) {
  let plot
  let samples = []

  const make = () => {
    plot?.destroy()
    const axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui',
    }
    const line = (label, variable) => ({
      label,
      stroke: colour(variable),
      fill: `${colour(variable)}22`,
      width: 2,
      points: { show: false },
    })
    plot = new UPlot(
      {
        width: element.clientWidth || 300,
        height: HEIGHT,
        cursor: { show: false },
        legend: { show: false },
        scales: {
          x: { time: false, range: [-SECONDS, 0] },
          y: { range: (_plot, _least, most) => [0, Math.max(1, most * 1.15)] },
        },
        axes: [
          {
            ...axis,
            values: (_plot, ticks) => ticks.map((tick) => (tick === 0 ? 'now' : `${tick} s`)),
            space: 70,
            size: 26,
          },
          { ...axis, size: 38 },
        ],
        series: [{}, line('plain fetch', '--plain'), line('Holdfast', '--held')],
      },
      data(),
      element,
    )
  }
  const data = () => {
    const last = samples.at(-1)?.at ?? 0
    return [
      samples.map(({ at }) => (at - last) / 1000),
      samples.map(({ plain }) => figureOf(plain)),
      samples.map(({ held }) => figureOf(held)),
    ]
  }
  const describe = () => {
    const { plain, held } = samples.at(-1) ?? {}
    if (!plain) return `${name}: nothing yet`
    return `${name}, now: plain fetch ${figureOf(plain)}${unit}, Holdfast ${figureOf(held)}${unit}`
  }

  make()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', make)
  new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT })).observe(element)
  return {
    draw(next) {
      samples = next
      plot.setData(data())
      element.setAttribute('aria-label', describe())
    },
  }
}
