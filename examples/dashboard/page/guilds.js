// The signed-in user, their guilds, and how old the list is.
const REASONS = {
  throttled: 'Discord is rate-limiting this app',
  unavailable: 'Discord does not answer',
  slow: 'Discord is slow to answer',
}

/** An element with text and attributes; text is never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** A picture from Discord, or (simulated guilds have none) the initials on a colour of their own. */
function icon(kind, { id, name, hash, real }) {
  if (real && hash) {
    const src = `https://cdn.discordapp.com/${kind === 'avatar' ? 'avatars' : 'icons'}/${id}/${hash}.webp?size=96`
    return element('img', { class: `icon ${kind}`, src, alt: '', width: 44, height: 44 })
  }
  const initials = name
    .split(/\s+/)
    .map((word) => [...word][0] ?? '')
    .slice(0, 2)
    .join('')
    .toUpperCase()
  // So dark that white letters can be read on every hue (WCAG 2.2, 4.5 to 1).
  const hue = Number(BigInt(id) % 360n)
  return element(
    'span',
    { class: `icon ${kind}`, style: `background:hsl(${hue} 55% 28%)`, 'aria-hidden': 'true' },
    initials,
  )
}

export function showAccount(place, user, real, onSignOut) {
  if (!user) return place.replaceChildren(element('a', { class: 'button first', href: '/auth/discord' }, 'Sign in'))
  const name = user.globalName ?? user.username ?? user.id
  const out = element('button', { type: 'button' }, 'Sign out')
  out.addEventListener('click', onSignOut)
  place.replaceChildren(
    icon('avatar', { id: user.id, name, hash: user.avatar, real }),
    element('span', { class: 'name' }, name),
    out,
  )
}

export function showInvitation(list, age, canSignIn) {
  age.textContent = ''
  const words = canSignIn
    ? 'Sign in to see yours. They stay on screen whatever you do to Discord above.'
    : 'Sign-in needs DISCORD_CLIENT_SECRET; the API takes bearer tokens.'
  const link = canSignIn ? [element('a', { class: 'button first', href: '/auth/discord' }, 'Sign in with Discord')] : []
  list.replaceChildren(element('div', { class: 'invite' }, element('p', {}, words), ...link))
}

/** Changes only what changed: nothing jumps, and a focus stays where it is. */
export function showGuilds(list, guilds, real) {
  const key = JSON.stringify(guilds)
  if (list.dataset.shown === key) return
  list.dataset.shown = key
  const order = [...guilds].sort(
    (one, other) => Number(other.manages) - Number(one.manages) || one.name.localeCompare(other.name),
  )
  list.replaceChildren(
    ...order.map((guild) =>
      element(
        'div',
        { class: 'item' },
        icon('guild', { id: guild.id, name: guild.name, hash: guild.icon, real }),
        element(
          'div',
          { class: 'text' },
          element('strong', {}, guild.name),
          element(
            'span',
            { class: `role${guild.manages ? ' manages' : ''}` },
            guild.owner ? 'owner' : guild.manages ? 'you may manage it' : 'member',
          ),
        ),
      ),
    ),
  )
}

export function ageInWords({ fetchedAt, now, stale, reason, retryAt, guilds }) {
  const seconds = Math.max(0, Math.round((Date.parse(now) - Date.parse(fetchedAt)) / 1000))
  const managed = guilds.filter(({ manages }) => manages).length
  const counts = `${guilds.length} guilds, ${managed} of them yours to manage.`
  const old =
    seconds < 2 ? 'fetched just now' : seconds < 120 ? `${seconds} s old` : `${Math.round(seconds / 60)} min old`
  if (!stale) return `${counts} The list is ${old}.`
  const again = retryAt
    ? ` Discord is asked again in ${Math.max(1, Math.round((Date.parse(retryAt) - Date.parse(now)) / 1000))} s.`
    : ''
  return `${counts} The list is ${old}, and shown all the same: ${REASONS[reason] ?? 'Discord cannot be asked'}.${again}`
}
