import { PermissionFlagsBits } from 'discord-api-types/v10'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors/errors.ts'
import { allows, type PermissionName, permissionBit, permissionsOfMember } from '../../src/guilds/permissions.ts'

describe('permissionBit', () => {
  test('knows every permission by its name in discord-api-types', () => {
    for (const [name, bit] of Object.entries(PermissionFlagsBits))
      expect(permissionBit(name as PermissionName)).toBe(bit)
  })

  test.each(['manageGuild', 'MANAGE_GUILD', '', 'toString', '__proto__', 'constructor', 'ManageGuild '])(
    'refuses the unknown name %j instead of checking nothing',
    (name) => {
      expect(() => permissionBit(name as PermissionName)).toThrow(ConfigError)
      expect(() => permissionBit(name as PermissionName)).toThrow(/ManageGuild/)
    },
  )

  test('refuses what is not a name at all', () => {
    for (const name of [undefined, null, 32, 32n, {}, ['ManageGuild', 'x']])
      expect(() => permissionBit(name as never)).toThrow(ConfigError)
  })
})

describe('allows', () => {
  const { ManageGuild, BanMembers, Administrator } = PermissionFlagsBits

  test('what is held is allowed, and nothing else', () => {
    const member = { owner: false, permissions: ManageGuild }
    expect(allows(member, ManageGuild)).toBe(true)
    expect(allows(member, BanMembers)).toBe(false)
  })

  test('several permissions at once need all of them', () => {
    expect(allows({ owner: false, permissions: ManageGuild }, ManageGuild | BanMembers)).toBe(false)
    expect(allows({ owner: false, permissions: ManageGuild | BanMembers }, ManageGuild | BanMembers)).toBe(true)
  })

  test('the owner and an administrator may do everything', () => {
    for (const bit of Object.values(PermissionFlagsBits)) {
      expect(allows({ owner: true, permissions: 0n }, bit)).toBe(true)
      expect(allows({ owner: false, permissions: Administrator }, bit)).toBe(true)
      expect(allows({ owner: false, permissions: 0n }, bit)).toBe(false)
    }
  })

  test('bits beyond 53 are exact', () => {
    const high = 1n << 60n
    expect(allows({ owner: false, permissions: high }, high)).toBe(true)
    expect(allows({ owner: false, permissions: high }, high | 1n)).toBe(false)
  })
})

describe('permissionsOfMember', () => {
  const guild = {
    id: '1',
    owner_id: '9',
    roles: [
      { id: '1', permissions: '1024' },
      { id: '2', permissions: '32' },
      { id: '3', permissions: '4503599627370496' },
    ],
  }

  test('is @everyone and the member’s roles together', () => {
    expect(permissionsOfMember(guild, [])).toBe(1024n)
    expect(permissionsOfMember(guild, ['2'])).toBe(1056n)
    expect(permissionsOfMember(guild, ['2', '3', '2'])).toBe(1056n + 4503599627370496n)
  })

  test('roles that the guild does not have add nothing', () => {
    expect(permissionsOfMember(guild, ['77'])).toBe(1024n)
  })
})
