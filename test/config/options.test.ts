import { describe, expect, test } from 'vitest'
import {
  aFunction,
  anAbortSignal,
  anObject,
  anyOf,
  listOf,
  milliseconds,
  oneOf,
  text,
  wholeNumber,
  yesOrNo,
} from '../../src/config/accepted.ts'
import { optionsOf } from '../../src/config/options.ts'
import { ConfigError, HoldfastError } from '../../src/errors/errors.ts'

const CHECK = optionsOf('openDoor', {
  guild: { means: 'whose door', accepts: text('a guild id', /^\d+$/), refuseUndefined: true },
  permissions: { means: 'who may', accepts: listOf(text(), { min: 1 }), refuseUndefined: true },
  waitMs: { means: 'how long', accepts: milliseconds(0, 1000), preset: '5 ms' },
  key: { means: 'its key', accepts: text('a key', /^k/), secret: true },
  load: { means: 'how', accepts: aFunction(), required: true },
  lock: {
    means: 'of what kind',
    accepts: anyOf(text('a name'), anObject()),
    within: { bolts: { means: 'how many', accepts: wholeNumber(1, 3) } },
  },
})
const load = () => {}

const refusal = (given: unknown): ConfigError => {
  try {
    CHECK.check(given)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return error as ConfigError
  }
  throw new Error('it was accepted')
}

describe('the options of a function', () => {
  test.each([
    { load },
    { load, waitMs: undefined, key: undefined },
    { load, guild: '1', permissions: ['ManageGuild'], waitMs: 0, lock: 'yale' },
    { load, lock: { bolts: 3 } },
    Object.create({ load }),
  ])('that can be used pass: %j', (given) => {
    expect(() => CHECK.check(given)).not.toThrow()
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['permission', { permission: 'ManageGuild' }, 'did you mean permissions?'],
    ['waitMS', { waitMS: 5 }, 'did you mean waitMs?'],
    ['guildId', { guildId: '1' }, 'did you mean guild?'],
    ['lock.bolt', { lock: { bolt: 2 } }, 'did you mean bolts?'],
    ['frequency', { frequency: 2 }, 'accepted: guild, permissions, waitMs, key, load, lock'],
    ['__proto__x', { __proto__x: 2 }, 'accepted:'],
    ['constructor', { constructor: 2 }, 'there is no option constructor'],
  ])('unknown %s is refused with the nearest right name', (name, given, words) => {
    const error = refusal({ load, ...given })
    expect(error.option).toBe(name)
    expect(error.message).toContain('openDoor: ')
    expect(error.message).toContain(words)
  })

  test('an inherited option is checked like an own one, because it is read like one', () => {
    expect(refusal(Object.create({ load, permision: 'x' })).option).toBe('permision')
    expect(refusal(Object.create({ load, guild: undefined })).option).toBe('guild')
  })

  test.each(['guild', 'permissions'])(
    '%s, which decides access, is refused where it is there and undefined',
    (name) => {
      const error = refusal({ load, [name]: undefined })
      expect(error.option).toBe(name)
      expect(error.message).toContain('is there and undefined')
    },
  )

  test.each<[string, unknown]>([
    ['waitMs', 1001],
    ['waitMs', -1],
    ['waitMs', Number.NaN],
    ['waitMs', '5'],
    ['waitMs', 5n],
    ['waitMs', null],
    ['guild', ''],
    ['guild', ['1']],
    ['permissions', []],
    ['permissions', 'ManageGuild'],
    ['permissions', [undefined]],
    ['load', {}],
    ['lock', 5],
    ['lock', ['a']],
  ])('%s: %o cannot be used, and the message says what is accepted', (name, value) => {
    const error = refusal({ load, [name]: value })
    expect(error.option).toBe(name)
    expect(error.message).toMatch(/cannot be used: .+; accepted: .+/)
  })

  test('a value of an option within an option is named by its path', () => {
    expect(refusal({ load, lock: { bolts: 4 } }).option).toBe('lock.bolts')
  })

  test('a secret value is never shown, whatever is wrong with it', () => {
    for (const key of ['hunter2', 5, ['hunter2'], { a: 'hunter2' }])
      expect(refusal({ load, key }).message).not.toContain('hunter2')
  })

  test('a long value is shown in part, an object by its kind', () => {
    expect(refusal({ load, guild: 'x'.repeat(500) }).message.length).toBeLessThan(200)
    expect(refusal({ load, guild: { token: 'hunter2' } }).message).toContain('an object')
  })

  test.each<[unknown, string]>([
    ['', 'empty'],
    [load, 'a function'],
    [['1'], 'a list'],
    [{}, 'an object'],
    [null, 'null'],
    [5, '5'],
    ['x y', '"x y"'],
  ])('the value %o is shown as %s', (guild, words) => {
    expect(refusal({ load, guild }).message).toBe(
      `openDoor: option guild cannot be used: ${words}; accepted: a guild id`,
    )
  })

  test('the message of a refusal is whole, in every case', () => {
    expect(refusal(5).message).toBe('openDoor: takes an object of options, not 5')
    expect(refusal({ load, key: 5 }).message).toBe('openDoor: option key cannot be used: its value; accepted: a key')
    expect(refusal({ load, waitMS: 5 }).message).toBe('openDoor: there is no option waitMS; did you mean waitMs?')
    expect(refusal({ load, ['x'.repeat(100)]: 5 }).message).toMatch(/accepted: guild, permissions/)
    const none = optionsOf('idle', {}, 'call')
    expect(() => none.check({ a: 1 })).toThrow('idle: there is no option a; it takes none')
  })

  test('what is required is missed by name', () => {
    expect(refusal({}).message).toBe('openDoor: option load is missing; accepted: a function')
    expect(refusal(undefined).option).toBe('load')
  })

  test.each([null, 5, 'x', [], () => {}])('%o is no object of options', (given) => {
    expect(refusal(given).option).toBe('options')
  })

  test('of a call are refused with INVALID_OPTION, those of what is made with CONFIG_INVALID', () => {
    const check = optionsOf('call', { on: { means: 'x', accepts: yesOrNo } }, 'call')
    expect(() => check.check({ on: 1 })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
    expect(() => check.check({ of: 1 })).toThrow(HoldfastError)
    expect(refusal({ load, waitMs: -1 }).code).toBe('CONFIG_INVALID')
  })
})

describe('what options accept', () => {
  test('an AbortSignal of another realm is one', () => {
    expect(anAbortSignal.fits(new AbortController().signal)).toBe(true)
    expect(anAbortSignal.fits({ aborted: false, addEventListener() {} })).toBe(true)
    expect(anAbortSignal.fits({ aborted: false })).toBe(false)
    expect(anAbortSignal.fits(null)).toBe(false)
  })

  test('one of some values, in words', () => {
    expect(oneOf('a', 'b').words).toBe('a or b')
    expect(oneOf('a', false).fits(false)).toBe(true)
    expect(oneOf('a').fits('toString')).toBe(false)
  })

  test('numbers say their bounds, and have none where they have none', () => {
    expect(wholeNumber(1, 3, 'tries').words).toBe('a whole number of tries from 1 to 3')
    expect(milliseconds().words).toBe('a number of milliseconds from 0')
    expect(milliseconds().fits(Number.POSITIVE_INFINITY)).toBe(true)
    expect(wholeNumber(1).fits(Number.POSITIVE_INFINITY)).toBe(false)
  })
})
