// CommonJS: Node 22.19 and later require ES modules.
const { createHoldfast, isAuthError, requireAuth } = require('holdfast')
const { startSimulator } = require('holdfast/simulator')

async function main() {
  const discord = await startSimulator({ users: 1 })
  const holdfast = createHoldfast({ discord: { baseUrl: discord.url, clientId: discord.clientId } })
  const headers = new Headers({ authorization: `Bearer ${discord.users[0].accessToken}` })
  const auth = await holdfast.requireAuth({ headers, method: 'GET' })
  const refused = await holdfast.requireAuth({ headers: new Headers(), method: 'GET' }).catch(isAuthError)
  await holdfast.close()
  await discord.close()
  console.log(JSON.stringify({ guilds: auth.guilds.size, refused, free: typeof requireAuth }))
}
main()
