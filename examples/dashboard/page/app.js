import { createChart } from '/charts.js'
import { ageInWords, showAccount, showGuilds, showInvitation } from '/guilds.js'

const find = (id) => document.getElementById(id)
const KEPT = 120
const EVERY_MS = 2_000

const site = await (await fetch('/api/site')).json()
if (site.laboratory) openLaboratory()
else
  document.querySelector('.lead').textContent =
    'Sign in, and see your guilds: also while Discord rate-limits this app, or is down.'
await refresh()
setInterval(() => document.visibilityState === 'visible' && refresh(), EVERY_MS)

async function refresh() {
  let answer
  try {
    answer = await fetch('/api/guilds')
  } catch {
    return wait('This page’s own server does not answer.')
  }
  if (answer.status === 401) {
    delete find('list').dataset.shown
    wait('')
    showAccount(find('account'), undefined)
    return showInvitation(find('list'), find('age'), site.canSignIn)
  }
  if (!answer.ok) {
    const seconds = answer.headers.get('retry-after')
    return wait(`Nothing newer can be had. ${seconds ? `Trying again in ${seconds} s.` : ''}`)
  }
  wait('')
  const told = await answer.json()
  const real = !site.laboratory
  if (find('account').dataset.user !== told.user.id) {
    find('account').dataset.user = told.user.id
    showAccount(find('account'), told.user, real, signOut)
  }
  showGuilds(find('list'), told.guilds, real)
  const age = ageInWords(told)
  if (find('age').textContent !== age) find('age').textContent = age
}

async function signOut() {
  await fetch('/auth/logout', { method: 'POST' })
  delete find('account').dataset.user
  await refresh()
  find('account').querySelector('a')?.focus()
}

function wait(words) {
  find('wait').hidden = words === ''
  find('wait').textContent = words
}

function openLaboratory() {
  find('laboratory').hidden = false
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
    for (const side of ['plain', 'held']) {
      for (const name of ['errors', 'views', 'calls', 'limited', 'stale'])
        find(`${side}-${name}`).textContent = totals[side][name].toLocaleString('en')
      find(`${side}-verdict`).textContent = verdict(samples.slice(-5).map((sample) => sample[side]))
    }
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
    button.addEventListener('click', async () => {
      press(button.dataset.trouble)
      await fetch('/laboratory/trouble', { method: 'POST', body: JSON.stringify({ trouble: button.dataset.trouble }) })
    })
}

const NOW = {
  none: 'Discord answers normally.',
  throttle: 'Discord answers every call with 429 and asks to wait 4 s.',
  ban: 'Discord’s edge has banned our address: 429 for everything, for a minute or more.',
  break: 'Discord answers every call with 503.',
  hang: 'Discord takes calls and never answers.',
}

function press(trouble) {
  for (const button of document.querySelectorAll('[data-trouble]'))
    button.setAttribute('aria-pressed', String(button.dataset.trouble === trouble))
  if (find('trouble-now').textContent !== NOW[trouble]) find('trouble-now').textContent = NOW[trouble]
}

/** What a visitor of the last seconds saw, in a sentence. */
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
