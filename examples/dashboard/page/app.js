import { ageInWords, showAccount, showGuilds, showInvitation } from '/guilds.js'
import { createApiClient, describeWait } from '/holdfast/browser.js'
import { openLaboratory } from '/laboratory-page.js'

const find = (id) => document.getElementById(id)
const EVERY_MS = 2_000

// Answers 429 and 503 by waiting; whoever waits reads until when.
const api = createApiClient({ maxWaitMs: 30_000 })
let waitingUntil = null
let watching = false
api.onWait((until) => {
  waitingUntil = until
  showWait()
})
setInterval(showWait, 1_000)

const site = await api.json('/api/site')
if (site.laboratory) openLaboratory()
else {
  const lead = 'Sign in, and see your guilds: also while Discord rate-limits this app, or is down.'
  document.querySelector('.lead').textContent = lead
}
if (site.signedIn) watch()
else signedOut()

/** Looks again and again, while somebody is looking; nothing is reloaded. */
async function watch() {
  watching = true
  while (watching) {
    if (document.visibilityState === 'visible' && !(await refresh())) return signedOut()
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  }
}

/** False once nobody is signed in any more. */
async function refresh() {
  let told
  try {
    told = await api.json('/api/guilds')
  } catch (error) {
    if (error.status === 401) return false
    find('wait').textContent = describeWait(error)
    find('wait').hidden = false
    return true
  }
  // Somebody signed out while this was on its way.
  if (!watching) return true
  const real = !site.laboratory
  if (find('account').dataset.user !== told.user.id) {
    find('account').dataset.user = told.user.id
    showAccount(find('account'), told.user, real, signOut)
  }
  showGuilds(find('list'), told.guilds, real)
  const age = ageInWords(told)
  if (find('age').textContent !== age) find('age').textContent = age
  return true
}

async function signOut() {
  watching = false
  await fetch('/auth/logout', { method: 'POST' })
  signedOut()
  find('account').querySelector('a')?.focus()
}

function signedOut() {
  delete find('account').dataset.user
  delete find('list').dataset.shown
  showAccount(find('account'), undefined)
  showInvitation(find('list'), find('age'), site.canSignIn)
}

function showWait() {
  const seconds = waitingUntil ? Math.ceil((waitingUntil.getTime() - Date.now()) / 1000) : 0
  find('wait').hidden = seconds <= 0
  if (seconds > 0) find('wait').textContent = `Nothing newer can be had at the moment. Trying again in ${seconds} s.`
}
