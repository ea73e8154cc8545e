import Keyv from 'keyv'
import { describe } from 'vitest'
import { sharedTierContract } from '../contracts/shared-tier.ts'
import { openStoreMembers } from './members.ts'

let opened = 0
const prefix = () => `t${++opened}:`

describe('a store that was handed in', () => {
  const keyv = new Keyv()
  sharedTierContract('a Keyv in memory', (count) => openStoreMembers(count, keyv, prefix()), { lesser: true })
})
