import type { Answer } from './answer.ts'
import { FAULT_KINDS } from './fault-options.ts'
import { escaped, page } from './page-frame.ts'
import type { Simulator } from './simulator-face.ts'

const SHOWN = 50

const STYLE = `
body{padding:1rem;max-width:76rem;margin:0 auto}
header{margin:.5rem 0 1rem}
.grid{display:grid;gap:1rem;grid-template-columns:minmax(0,1fr)}
@media(min-width:60rem){.grid{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}.wide{grid-column:1/-1}}
.faults{display:flex;flex-wrap:wrap;gap:.5rem;margin-bottom:.75rem}
button[aria-pressed=true]{background:var(--bad);border-color:var(--bad);color:var(--card)}
.options{display:flex;flex-wrap:wrap;gap:.5rem 1rem;margin-bottom:.75rem;align-items:end}
.options label{display:grid;gap:.2rem;font-size:.875rem}
.scroll{overflow:auto;max-height:24rem;border-top:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-size:.875rem}
th{position:sticky;top:0;background:var(--card);text-align:left;color:var(--soft);font-weight:500}
td,th{padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
td.path{white-space:normal;overflow-wrap:anywhere;min-width:9rem}
code{font:.8125rem ui-monospace,monospace}
dl{display:grid;grid-template-columns:minmax(0,1fr);gap:.1rem;margin:0}
dt{color:var(--soft);font-size:.8125rem}dd{margin:0 0 .4rem;overflow-wrap:anywhere}
.limit{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:.1rem .75rem;font-size:.875rem;padding:.35rem 0}
.limit span{overflow-wrap:anywhere}
.bar{grid-column:1/-1;height:.5rem;border-radius:.25rem;background:var(--line);overflow:hidden}
.bar i{display:block;height:100%;background:var(--good)}
.bar.low i{background:var(--warn)}.bar.empty i{background:var(--bad)}
.s2{color:var(--good)}.s4{color:var(--bad)}.s5{color:var(--bad)}.s0{color:var(--warn)}
.token{max-width:12rem;overflow:hidden;text-overflow:ellipsis;display:inline-block;vertical-align:middle}
button.small{padding:.15rem .5rem;font-size:.8125rem}
[role=status]{min-height:1.5em;color:var(--soft)}`

const SCRIPT = `
const lever = async (method, path, body) => {
  const response = await fetch('/_simulator' + path, { method, headers: body ? { 'content-type': 'application/json' } : {}, body: body && JSON.stringify(body) })
  const value = response.status === 204 ? undefined : await response.json()
  if (!response.ok) throw new Error(value.message)
  return value
}
const $ = (id) => document.getElementById(id)
const make = (name, text, kind) => { const one = document.createElement(name); if (text !== undefined) one.textContent = text; if (kind) one.className = kind; return one }
const say = (text) => { $('said').textContent = text }
const act = (work) => work.then(() => {}, (error) => say(error.message))
for (const button of document.querySelectorAll('[data-fault]')) button.onclick = () => act((async () => {
  const kind = button.dataset.fault
  const on = (await lever('GET', '/faults')).filter((one) => one.fault === kind)
  for (const one of on) await lever('DELETE', '/faults/' + one.id)
  if (on.length === 0) {
    const options = { fault: kind, probability: Number($('chance').value) }
    if ($('route').value.trim()) options.route = $('route').value.trim()
    if ($('wait').value) options.retryAfterMs = Number($('wait').value)
    await lever('POST', '/faults', options)
  }
  say(on.length ? kind + ' is off' : kind + ' is on')
  await faults()
})())
$('calm').onclick = () => act(lever('DELETE', '/faults').then(faults).then(() => say('all faults are off')))
$('clear').onclick = () => act(lever('DELETE', '/calls').then(() => { $('calls').replaceChildren(); say('the list is empty') }))
for (const button of document.querySelectorAll('[data-lever]')) button.onclick = () => act((async () => {
  const { lever: name, user } = button.dataset
  if (name === 'copy') { await navigator.clipboard.writeText(button.dataset.token); return say('copied') }
  await lever('POST', '/' + name, name === 'next-login' ? { user } : { userId: user })
  say(name === 'revoke' ? 'their tokens are revoked' : 'the next sign-in is theirs')
})())
const faults = async () => {
  const on = new Set((await lever('GET', '/faults')).map((one) => one.fault))
  for (const button of document.querySelectorAll('[data-fault]')) button.setAttribute('aria-pressed', String(on.has(button.dataset.fault)))
}
const names = new Map([...document.querySelectorAll('[data-name]')].map((row) => [row.dataset.id, row.dataset.name]))
const who = (id) => id === null ? '' : names.get(id) ?? (id === document.body.dataset.bot ? 'the bot' : id)
let seen = 0
const calls = async () => {
  const { total, calls } = await lever('GET', '/calls?since=' + seen)
  seen = total
  for (const call of calls.slice(-200)) {
    const row = make('tr')
    row.append(make('td', new Date(call.at).toISOString().slice(11, 23)), make('td', String(call.status || '–'), 's' + String(call.status)[0]), make('td', call.method), make('td', call.path + (call.query ? '?' + call.query : ''), 'path'), make('td', who(call.userId)), make('td', call.fault ?? ''))
    $('calls').prepend(row)
  }
  while ($('calls').children.length > 200) $('calls').lastChild.remove()
  $('total').textContent = total
}
const limits = async () => {
  const rows = (await lever('GET', '/limits')).slice(0, 12).map((one) => {
    const row = make('div', undefined, 'limit')
    const bar = make('div', undefined, 'bar' + (one.remaining === 0 ? ' empty' : one.remaining * 2 < one.limit ? ' low' : ''))
    const fill = make('i'); fill.style.width = 100 * one.remaining / one.limit + '%'; bar.append(fill)
    row.append(make('span', one.route + (one.userId ? ' · ' + who(one.userId) : '')), make('span', one.remaining + ' of ' + one.limit + (one.resetAfterMs ? ', ' + (one.resetAfterMs / 1000).toFixed(1) + ' s' : '')), bar)
    return row
  })
  $('limits').replaceChildren(...(rows.length ? rows : [make('p', 'No call has met a limit yet.', 'soft')]))
}
const look = async () => {
  if (!document.hidden) await Promise.all([calls(), limits(), faults()]).catch(() => say('the simulator does not answer'))
  setTimeout(look, 1000)
}
look()`

/** The page at `/`: people and their tokens, a button for each fault, what comes in, and where limits stand. */
export function leversPage(simulator: Simulator): Answer {
  const { users, url, clientId, clientSecret, publicKey, botToken, botId } = simulator
  const environment = {
    DISCORD_API_BASE_URL: url,
    DISCORD_CLIENT_ID: clientId,
    DISCORD_CLIENT_SECRET: clientSecret,
    DISCORD_PUBLIC_KEY: publicKey,
    DISCORD_BOT_TOKEN: botToken,
  }
  const rows = users.slice(0, SHOWN).map(({ id, username, accessToken, guilds }) => {
    const button = (lever: string, text: string, more = '') =>
      `<button class="small" data-lever="${lever}" data-user="${escaped(id)}"${more}>${text}</button>`
    return `<tr data-id="${escaped(id)}" data-name="${escaped(username)}"><td>${escaped(username)}<br><small>${escaped(id)}</small></td><td>${guilds.length}</td>
<td><code class="token">${escaped(accessToken)}</code> ${button('copy', 'Copy', ` data-token="${escaped(accessToken)}" aria-label="Copy the token of ${escaped(username)}"`)}</td><td>${button('next-login', 'Signs in next')} ${button('revoke', 'Revoke')}</td></tr>`
  })
  const faults = FAULT_KINDS.map((kind) => `<button data-fault="${kind}" aria-pressed="false">${kind}</button>`)
  const facts = Object.entries(environment).map(
    ([name, value]) => `<dt>${name}</dt><dd><code>${escaped(value)}</code></dd>`,
  )
  return page(
    'A Discord to test against',
    `<header><h1>A Discord to test against</h1><p class="soft">It answers as Discord does, with its limits. Give your app this environment, then make trouble.</p><p id="said" role="status"></p></header>
<main class="grid">
<section class="card wide"><h2>Trouble</h2><div class="faults">${faults.join('')}</div>
<div class="options"><label>Chance<select id="chance"><option value="1">every call</option><option value="0.5">one in two</option><option value="0.1">one in ten</option></select></label>
<label>Route (empty: all)<input id="route" placeholder="/users/@me/guilds" autocomplete="off"></label><label>Wait asked for, ms<input id="wait" type="number" min="0" step="500" placeholder="1000"></label>
<button id="calm">All off</button></div></section>
<section class="card"><h2>Coming in (<span id="total">0</span>)</h2><p><button id="clear" class="small">Empty the list</button></p><div class="scroll" tabindex="0" role="region" aria-label="Calls"><table><thead><tr><th>Time</th><th>Status</th><th>Method</th><th>Path</th><th>Who</th><th>Fault</th></tr></thead><tbody id="calls"></tbody></table></div></section>
<section class="card"><h2>Limits</h2><div id="limits"></div></section>
<section class="card wide"><h2>People</h2><div class="scroll" tabindex="0" role="region" aria-label="People"><table><thead><tr><th>Name</th><th>Guilds</th><th>Access token</th><th>Levers</th></tr></thead><tbody>${rows.join('\n')}</tbody></table></div>${users.length > SHOWN ? `<p class="soft">and ${users.length - SHOWN} more</p>` : ''}</section>
<section class="card wide"><h2>Environment</h2><dl>${facts.join('')}</dl></section>
</main>`,
    { style: STYLE, script: `document.body.dataset.bot=${JSON.stringify(botId)};${SCRIPT}` },
  )
}
