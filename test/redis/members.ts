import type { Member } from '../contracts/shared-tier.ts'
import { beside, freshNamespace, openRoom } from './room.ts'

let users = 0

/** Processes that log in as a user each, so that each can be shut out of a Redis that the others keep. */
export async function openMembers(count: number, urls: readonly string[], cluster: boolean): Promise<Member[]> {
  const namespace = freshNamespace()
  const onAll = async (...commands: string[][]) => {
    for (const url of urls) {
      using client = await beside(url)
      for (const command of commands) await client.sendCommand(command)
    }
  }
  return Promise.all(
    Array.from({ length: count }, async () => {
      const user = `member-${++users}`
      await onAll(['ACL', 'SETUSER', user, 'on', '>pass', '~*', '&*', '+@all'])
      const own = urls.map((url) => url.replace('//', `//${user}:pass@`))
      const room = await openRoom({ urls: own, cluster, namespace }).up()
      return {
        tier: room.entries,
        cutOff: async () => {
          await onAll(['ACL', 'SETUSER', user, 'off'], ['CLIENT', 'KILL', 'USER', user])
          await room.away()
        },
        reconnect: async () => {
          await onAll(['ACL', 'SETUSER', user, 'on'])
          await room.up()
        },
        [Symbol.dispose]: () => room.connection.close(),
      }
    }),
  )
}
