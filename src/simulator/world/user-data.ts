import { isSnowflake } from './snowflake.ts'

/** What may be said about a user, in Discord's own names; the rest is drawn from the seed. */
export interface UserData {
  readonly id?: string
  readonly username?: string
  readonly global_name?: string | null
  readonly avatar?: string | null
  readonly banner?: string | null
  readonly accent_color?: number | null
  readonly email?: string | null
  readonly verified?: boolean
  readonly mfa_enabled?: boolean
  readonly locale?: string
  readonly premium_type?: 0 | 1 | 2 | 3
  /** Valid from the start. */
  readonly accessToken?: string
  /** Their guilds, and no others: a name, or what a guild list shows of one. Guilds with one id, or one name, are one. */
  readonly guilds?: ReadonlyArray<string | MembershipData>
}

/** One guild of a user; the fields are Discord's. `owner` false and what @everyone may, if nothing else is said. */
export interface MembershipData {
  readonly id?: string
  readonly name: string
  readonly icon?: string | null
  readonly banner?: string | null
  readonly features?: readonly string[]
  readonly owner?: boolean
  readonly permissions?: string
}

type Check = readonly [fits: (value: unknown) => boolean, rule: string]

const text: Check = [(value) => typeof value === 'string' && value !== '', 'a text of at least one character']
const textOrNull: Check = [(value) => value === null || (typeof value === 'string' && value !== ''), 'a text or null']
const flag: Check = [(value) => typeof value === 'boolean', 'true or false']
const id: Check = [(value) => typeof value === 'string' && isSnowflake(value), 'a Discord id (up to 20 digits)']

const USER: Readonly<Record<keyof UserData, Check>> = {
  id,
  username: text,
  global_name: textOrNull,
  avatar: textOrNull,
  banner: textOrNull,
  accent_color: [(value) => value === null || Number.isInteger(value), 'a whole number or null'],
  email: textOrNull,
  verified: flag,
  mfa_enabled: flag,
  locale: text,
  premium_type: [(value) => [0, 1, 2, 3].includes(value as number), '0, 1, 2 or 3'],
  accessToken: [(value) => typeof value === 'string' && /^[\w.~+/-]+=*$/.test(value), 'a token (RFC 6750)'],
  guilds: [Array.isArray, 'a list of guilds'],
}
const MEMBERSHIP: Readonly<Record<keyof MembershipData, Check>> = {
  id,
  name: text,
  icon: textOrNull,
  banner: textOrNull,
  features: [(value) => Array.isArray(value) && value.every((name) => typeof name === 'string'), 'a list of texts'],
  owner: flag,
  permissions: [
    (value) => typeof value === 'string' && /^\d{1,20}$/.test(value),
    'permission bits as a decimal string',
  ],
}

/** Throws a TypeError that says which user, which field, and what it takes. */
export function checkUsers(users: readonly unknown[]): asserts users is readonly UserData[] {
  const seen = new Map<string, string>()
  for (const [nth, user] of users.entries()) {
    const where = `users[${nth}]`
    check(where, user, USER)
    for (const name of ['id', 'username', 'accessToken'] as const) {
      const value = (user as UserData)[name]
      if (value === undefined) continue
      const before = seen.get(`${name} ${value}`)
      if (before) throw new TypeError(`${where}.${name} is the same as that of ${before}`)
      seen.set(`${name} ${value}`, where)
    }
    for (const [at, guild] of ((user as UserData).guilds ?? []).entries()) {
      const inside = `${where}.guilds[${at}]`
      if (typeof guild === 'string' ? guild === '' : !(guild as Partial<MembershipData> | null)?.name)
        throw new TypeError(`${inside} must be a name, or an object with one`)
      if (typeof guild !== 'string') check(inside, guild, MEMBERSHIP)
    }
  }
}

function check(where: string, value: unknown, fields: Readonly<Record<string, Check>>): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new TypeError(`${where} must be an object`)
  for (const [name, given] of Object.entries(value)) {
    if (!Object.hasOwn(fields, name))
      throw new TypeError(`${where} has no field ${name}; there are ${Object.keys(fields).join(', ')}`)
    if (given !== undefined && !fields[name]![0](given))
      throw new TypeError(`${where}.${name} must be ${fields[name]![1]}, not ${JSON.stringify(given)}`)
  }
}
