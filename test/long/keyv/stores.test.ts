import { beforeAll, describe } from 'vitest'
import { sharedTierContract } from '../../contracts/shared-tier.ts'
import { type Handed, openStoreMembers } from '../../keyv/members.ts'
import { install, store } from './installed.ts'

let opened = 0
const prefix = () => `t${process.pid}-${++opened}:`

/** The next keyv, beside the one that the package depends on. */
describe('a Keyv 6 in memory', () => {
  let handed: Handed
  beforeAll(async () => {
    await install()
    const { default: Keyv, Keyv: named } = await store('keyv-6')
    handed = new (Keyv ?? named)()
  })
  sharedTierContract('a Keyv 6 in memory', (count) => openStoreMembers(count, handed, prefix()), { lesser: true })
})
