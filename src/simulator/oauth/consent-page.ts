import type { Answer } from '../answer.ts'
import { escaped, page } from '../page-frame.ts'
import type { SimulatedUser } from '../world/people.ts'

/** More people than fit a page are named in the field below the list. */
const SHOWN = 50

const STYLE = `
body{display:grid;place-items:center;min-height:100vh;padding:1rem}
main{width:100%;max-width:26rem}
fieldset{border:1px solid var(--line);border-radius:.5rem;padding:.25rem .75rem;margin:0 0 1rem;max-height:18rem;overflow:auto;min-width:0}
legend{padding:0 .25rem;color:var(--soft)}
label.person{display:flex;gap:.6rem;align-items:center;padding:.4rem 0;overflow-wrap:anywhere}
label.person input{flex:none}
.acts{display:flex;gap:.5rem;justify-content:flex-end;flex-wrap:wrap}
ul{margin:.25rem 0 1rem;padding-left:1.2rem}code{overflow-wrap:anywhere}
.wrong{color:var(--bad)}`

/** The consent page: who signs in, and whether they allow it. A plain form, so it works without JavaScript. */
export function consentPage(
  applicationName: string,
  users: readonly SimulatedUser[],
  chosen: string | undefined,
  scopes: ReadonlySet<string>,
  unknown?: string,
): Answer {
  const shown = users.slice(0, SHOWN)
  const people = shown.map(({ id, username }, nth) => {
    const checked = id === chosen || (nth === 0 && !shown.some((user) => user.id === chosen))
    return `<label class="person"><input type="radio" name="user" value="${escaped(id)}"${checked ? ' checked' : ''}><span>${escaped(username)}</span></label>`
  })
  const named =
    users.length > SHOWN || unknown !== undefined
      ? `<p><label>Or by name or id<br><input name="name" value="${escaped(unknown ?? '')}" autocomplete="off"></label></p>`
      : ''
  const wrong =
    unknown === undefined ? '' : `<p class="wrong" role="alert">There is nobody named ${escaped(unknown)}.</p>`
  const guild = scopes.has('bot')
    ? `<p><label>Server to add the bot to (id; empty: the first one this person may manage)<br><input name="guild_id" autocomplete="off"></label></p>`
    : ''
  return page(
    `Authorize ${applicationName}`,
    `<main class="card"><h1>${escaped(applicationName)}</h1><p class="soft">wants to access a Discord account of this simulator</p>${wrong}
<form method="post"><fieldset><legend>Sign in as</legend>${people.join('\n')}</fieldset>${named}${guild}
<p class="soft">It asks for</p><ul>${[...scopes].map((scope) => `<li><code>${escaped(scope)}</code></li>`).join('')}</ul>
<div class="acts"><button name="decision" value="deny">Cancel</button><button class="first" name="decision" value="allow">Authorize</button></div></form></main>`,
    { style: STYLE, status: unknown === undefined ? 200 : 400 },
  )
}

/** What Discord shows when a bot was added without an app to go back to. */
export function installedPage(applicationName: string, guildName: string): Answer {
  return page(
    'Authorized',
    `<main class="card"><h1>Authorized</h1><p>${escaped(applicationName)} was added to ${escaped(guildName)}. You may close this page.</p></main>`,
    { style: STYLE },
  )
}
