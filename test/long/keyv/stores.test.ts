import { beforeAll, describe, inject } from 'vitest'
import { sharedTierContract } from '../../contracts/shared-tier.ts'
import { type Handed, openStoreMembers } from '../../keyv/members.ts'
import { install, store } from './installed.ts'

let opened = 0
const prefix = () => `t${process.pid}-${++opened}:`
const redis = inject('redisUrl')

/** Stores that people have, in the keyv that they belong to, and the next keyv. What cannot be had is named and skipped. */
const STORES: ReadonlyArray<readonly [string, string | undefined, () => Promise<Handed>]> = [
  [
    'a Keyv on Valkey (@keyv/valkey)',
    redis,
    async () => {
      const [{ default: Keyv }, { default: KeyvValkey }] = [await store('keyv'), await store('@keyv/valkey')]
      return new Keyv({ store: new KeyvValkey(redis) })
    },
  ],
  [
    'a Keyv 6 in memory',
    'always there',
    async () => {
      const { default: Keyv, Keyv: named } = await store('keyv-6')
      return new (Keyv ?? named)()
    },
  ],
]

describe.each(STORES)('%s', (name, server, make) => {
  if (server === undefined) {
    describe.skip(`there is no server for ${name}`, () => {})
    return
  }
  let handed: Handed
  beforeAll(async () => {
    await install()
    handed = await make()
  })
  sharedTierContract(name, (count) => openStoreMembers(count, handed, prefix()), { lesser: true })
})
