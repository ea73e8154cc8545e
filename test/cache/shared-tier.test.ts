import { afterAll, beforeAll, describe } from 'vitest'
import { sharedTierContract } from '../contracts/shared-tier.ts'
import { openMembers } from '../redis/members.ts'
import { SERVERS } from '../redis/room.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'

describe.skipIf(!SERVERS)('on one Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedisServer()
  })
  afterAll(() => server?.stop())
  sharedTierContract('one Redis', (count) => openMembers(count, [server.url], false))
})
