// Fresh processes on a busy machine: 20 users at once, three rounds as fast as the limit of one a second allows. All round
// trips of the first burst are lengthened by the burst itself; does anybody conclude from them that they may send early?
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { judge, table } from './figures.ts'

const STARTS = 100
const USERS = 20
const ROUNDS = 3
const BUSY = 2
/** So many cold starts at the same time: each is most of the time waiting for a limit. */
const TOGETHER = 4
/** Five seconds on two quiet cores. */
const LONGEST_START_MS = 120_000

/** What one process met, from its start to its end. One that says nothing ends the bench instead of holding it up. */
async function coldStart(url: string, users: string): Promise<{ rateLimited: number }> {
  const child = fork(import.meta.filename, ['cold', url, users], { signal: AbortSignal.timeout(LONGEST_START_MS) })
  let told: { rateLimited: number } | undefined
  child.on('message', (message) => {
    told = message as { rateLimited: number }
  })
  await once(child, 'exit')
  if (!told) throw new Error(`a cold start ended with ${child.exitCode ?? child.signalCode}, and said nothing`)
  return told
}

if (process.argv[2] === 'busy') {
  for (;;) JSON.parse(JSON.stringify(Array.from({ length: 1000 }, (_, n) => ({ n }))))
} else if (process.send) {
  const [, , , url, users] = process.argv
  const holdfast = createHoldfast({ discord: { baseUrl: url! } })
  for (let round = 0; round < ROUNDS; round++)
    await Promise.all(
      (JSON.parse(users!) as Array<{ id: string; accessToken: string }>).map(({ id, accessToken }) =>
        holdfast.getUserGuilds(accessToken, { principal: id }).catch(() => {}),
      ),
    )
  await holdfast.close()
  process.send({ rateLimited: holdfast.stats().discord.rateLimited })
  process.disconnect()
} else {
  console.log('about two minutes: the windows are real seconds\n')
  const busy = Array.from({ length: BUSY }, () => fork(import.meta.filename, ['busy']))
  process.once('exit', () => {
    for (const child of busy) child.kill('SIGKILL')
  })
  const discord = await startDiscord({ users: USERS * TOGETHER, guildsPerUser: 100, latencyMs: 5 })
  let rateLimited = 0
  let worst = 0
  let left = STARTS
  await Promise.all(
    Array.from({ length: TOGETHER }, async (_, lane) => {
      const users = JSON.stringify(discord.users.slice(lane * USERS, (lane + 1) * USERS))
      while (left-- > 0) {
        const told = await coldStart(discord.url, users)
        rateLimited += told.rateLimited
        worst = Math.max(worst, told.rateLimited)
        // What the last one spent is not the next one's.
        await new Promise((resolve) => setTimeout(resolve, 1_100))
      }
    }),
  )
  await discord.stop()
  for (const child of busy) child.kill('SIGKILL')
  table(
    [`${STARTS} cold starts, ${USERS} users × ${ROUNDS} rounds, busy machine`, '429s', 'at worst'],
    [['holdfast', rateLimited, worst]],
  )
  judge([{ name: '429s in all', value: rateLimited, unit: '', target: 1 }])
  process.exit()
}
