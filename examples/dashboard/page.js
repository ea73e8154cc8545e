/** The guilds of a request's user, and how old they are. */
export function renderPage({ user, guilds, stale, source, guildsFetchedAt, reason }) {
  const state = stale
    ? `a little older: Discord is ${reason === 'throttled' ? 'rate-limiting us' : 'not answering'}`
    : 'up to date'
  const rows = [...guilds]
    .map((guild) => {
      const role = guild.owner ? 'owner' : guilds.can(guild.id, 'ManageGuild') ? 'may manage' : 'member'
      return `<tr><td>${escapeHtml(guild.name)}</td><td class="${role.replace(' ', '-')}">${role}</td></tr>`
    })
    .join('')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="2">
<title>Guilds</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
  .state { border-left: .4rem solid ${stale ? '#d97706' : '#16a34a'}; padding: .4rem .8rem; background: color-mix(in srgb, currentColor 6%, transparent) }
  table { width: 100%; border-collapse: collapse; margin-top: 1rem }
  td { padding: .3rem .2rem; border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent) }
  td:last-child { text-align: right }
  .owner, .may-manage { font-weight: 600 }
</style>
</head>
<body>
<h1>${guilds.size} guilds</h1>
<p class="state">User ${escapeHtml(user.id)} · ${state} · fetched ${guildsFetchedAt.toISOString().slice(11, 19)} UTC, from ${source}</p>
<table>${rows}</table>
</body>
</html>`
}

function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
