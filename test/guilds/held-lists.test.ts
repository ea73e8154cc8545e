import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HeldLists } from '../../src/guilds/held-lists.ts'
import { type GuildMemberships, membershipsCodec, membershipsFromDiscord } from '../../src/guilds/memberships.ts'

interface Known {
  readonly id: string
  readonly name: string
  readonly icon: string | null
  readonly owner: boolean
  readonly permissions: string
}

const IDS = Array.from({ length: 12 }, (_, index) => String(175_928_847_299_117_063n + BigInt(index)))
const MANAGE_GUILD = 1n << 5n
const ADMINISTRATOR = 1n << 3n

const fromDiscord = (guilds: readonly Known[]) => membershipsFromDiscord(guilds as never)
const asText = (guilds: readonly Known[]) => membershipsCodec.decode(membershipsCodec.encode(fromDiscord(guilds)))
/** A guild is called by its id: a list that reads another guild's record would be seen. */
const named = (guilds: ReadonlyArray<Omit<Known, 'name' | 'icon'>>): Known[] =>
  guilds.map((guild) => ({ ...guild, name: `Guild ${guild.id} 🦊`, icon: `icon of ${guild.id}` }))

const aList = fc.uniqueArray(
  fc.record({
    id: fc.constantFrom(...IDS),
    owner: fc.boolean(),
    permissions: fc.oneof(fc.bigInt(0n, 2n ** 52n), fc.bigInt(0n, 2n ** 90n), fc.constantFrom(0n, 8n, 32n)).map(String),
  }),
  { selector: ({ id }) => id },
)

function check(list: GuildMemberships, guilds: readonly Known[]) {
  expect(list.toJSON()).toEqual(guilds)
  expect([...list]).toEqual(guilds.map((guild) => ({ ...guild, permissions: BigInt(guild.permissions) })))
  expect(list.size).toBe(guilds.length)
  for (const id of [...IDS, '1', '', `${IDS[0]}0`]) {
    const guild = guilds.find((guild) => guild.id === id)
    expect(list.has(id)).toBe(guild !== undefined)
    const bits = BigInt(guild?.permissions ?? 0)
    expect(list.can(id, 'ManageGuild')).toBe(
      guild !== undefined && (guild.owner || (bits & (MANAGE_GUILD | ADMINISTRATOR)) !== 0n),
    )
    expect(list.get(id)?.name).toBe(guild?.name)
  }
}

test('whatever is held, let go and asked meanwhile, each list says of each guild what it was made of', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant('make'), guilds: aList, text: fc.boolean() } as const),
      fc.record({ do: fc.constantFrom('hold', 'release', 'ask'), which: fc.nat(20) } as const),
    ),
    { maxLength: 40 },
  )
  fc.assert(
    fc.property(steps, (steps) => {
      const held = new HeldLists()
      const lists: Array<{ list: GuildMemberships; guilds: Known[]; holds: number }> = []
      for (const step of steps) {
        if (step.do === 'make') {
          const guilds = named(step.guilds)
          lists.push({ list: step.text ? asText(guilds) : fromDiscord(guilds), guilds, holds: 0 })
          continue
        }
        const one = lists[step.which % lists.length]
        if (!one) continue
        if (step.do === 'ask') check(one.list, one.guilds)
        else if (step.do === 'hold') {
          held.hold(one.list)
          one.holds++
        } else if (one.holds > 0) {
          held.release(one.list)
          one.holds--
        }
      }
      for (const { list, guilds } of lists) check(list, guilds)
      // Nothing is left behind: neither guilds nor bytes.
      for (const one of lists) while (one.holds-- > 0) held.release(one.list)
      expect(held.table.size).toBe(0)
      expect(held.bytes).toBe(0)
      for (const { list, guilds } of lists) check(list, guilds)
    }),
    { numRuns: 300 },
  )
})

describe('the table', () => {
  const guilds = (from: number, count: number) =>
    named(Array.from({ length: count }, (_, index) => ({ id: String(from + index), owner: false, permissions: '32' })))

  test.each([0, 1, 2, 3, 85, 86, 200, 254, 255, 1_000])('finds each of %i guilds, and no other', (count) => {
    const held = new HeldLists()
    const list = fromDiscord(guilds(1_000, count))
    held.hold(fromDiscord(guilds(1_000 + count, 500)))
    held.hold(list)
    for (let id = 1_000; id < 1_000 + count; id++) expect(list.can(String(id), 'ManageGuild')).toBe(true)
    for (let id = 1_000 + count; id < 1_500 + count; id++) expect(list.has(String(id))).toBe(false)
  })

  test('holds the names and icons that users share once', () => {
    const held = new HeldLists()
    held.hold(fromDiscord(guilds(1_000, 100)))
    const first = held.table.bytes
    for (let user = 0; user < 50; user++) held.hold(fromDiscord(guilds(1_000, 100)))
    expect(held.table.bytes).toBe(first)
    expect(held.bytes / 51).toBeLessThan(2_000)
  })

  test('calls a guild as it was called last, for all who are in it', () => {
    const held = new HeldLists()
    const old = fromDiscord(guilds(1, 1))
    held.hold(old)
    held.hold(fromDiscord([{ ...guilds(1, 1)[0]!, name: 'renamed' }]))
    expect(old.get('1')!.name).toBe('renamed')
    held.hold(fromDiscord([{ ...guilds(1, 1)[0]!, name: 'renamed', icon: 'a new icon' }]))
    expect(old.get('1')).toMatchObject({ name: 'renamed', icon: 'a new icon' })
  })

  test('uses the places of guilds that nobody is in any more again', () => {
    const held = new HeldLists()
    held.hold(fromDiscord(guilds(1, 10)))
    for (let round = 0; round < 100; round++) {
      const passing = fromDiscord(guilds(1_000 + round * 100, 50))
      held.hold(passing)
      held.release(passing)
    }
    held.hold(fromDiscord(guilds(50_000, 1)))
    expect(held.table.find('50000')!.index).toBeLessThan(61)
    expect(held.table.size).toBe(11)
  })

  test('gives what a list that was let go still shows no other guild: its place is used again, its record is not', () => {
    const held = new HeldLists()
    const gone = fromDiscord(guilds(1, 3))
    held.hold(gone)
    held.release(gone)
    held.hold(fromDiscord(guilds(100, 3)))
    expect([...gone].map(({ name }) => name)).toEqual(['Guild 1 🦊', 'Guild 2 🦊', 'Guild 3 🦊'])
    expect(gone.has('100')).toBe(false)
  })
})
