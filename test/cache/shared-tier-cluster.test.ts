import { afterAll, beforeAll, describe } from 'vitest'
import { sharedTierContract } from '../contracts/shared-tier.ts'
import { type Cluster, startCluster } from '../redis/cluster.ts'
import { openMembers } from '../redis/members.ts'
import { SERVERS } from '../redis/room.ts'

describe.skipIf(!SERVERS)('on a cluster', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 30_000)
  afterAll(() => cluster?.[Symbol.asyncDispose]())
  sharedTierContract('a cluster of three nodes', (count) => openMembers(count, cluster.urls, true))
})
