import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KeyRing, Names } from '../../src/secrets/key-ring.ts'

const FIRST = 'first-secret-of-thirty-two-bytes-or-more'
const SECOND = 'second-secret-of-thirty-two-bytes-or-more'

describe('what a ring has sealed', () => {
  test('opens for the same place, in another process too', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, place) => {
        const wellFormed = text.toWellFormed()
        const sealed = new KeyRing([FIRST]).seal(wellFormed, place)
        expect(new KeyRing([FIRST]).open(sealed, place)).toBe(wellFormed)
      }),
    )
  })

  test('does not open for another place', () => {
    const ring = new KeyRing([FIRST])
    expect(ring.open(ring.seal('guilds', 'entry of A'), 'entry of B')).toBeUndefined()
  })

  test('does not open once any byte of it was changed, cut or added', () => {
    const ring = new KeyRing([FIRST])
    const sealed = ring.seal('guilds', 'place')
    for (let at = 0; at < sealed.length; at++) {
      const edited = Buffer.from(sealed)
      edited[at]! ^= 1
      expect(ring.open(edited, 'place'), `byte ${at}`).toBeUndefined()
      expect(ring.open(sealed.subarray(0, at), 'place'), `cut at ${at}`).toBeUndefined()
    }
    expect(ring.open(Buffer.concat([sealed, Buffer.of(0)]), 'place')).toBeUndefined()
  })

  test('never shows its text or the secret, and is never the same twice', () => {
    const ring = new KeyRing([FIRST])
    const sealed = [
      ring.seal('guilds', 'place'),
      ring.seal('guilds', 'place'),
      new KeyRing([FIRST]).seal('guilds', 'place'),
    ]
    expect(new Set(sealed.map((one) => one.toString('hex'))).size).toBe(3)
    for (const one of sealed) expect(one.toString('latin1')).not.toMatch(/guilds|first-secret/)
  })

  test('opens under the previous secret while the secret rotates, and is then not current', () => {
    const old = new KeyRing([FIRST]).seal('guilds', 'place')
    const both = new KeyRing([SECOND, FIRST])
    expect(both.open(old, 'place')).toBe('guilds')
    expect(both.isCurrent(old)).toBe(false)
    expect(both.isCurrent(both.seal('guilds', 'place'))).toBe(true)
    expect(new KeyRing([SECOND]).open(old, 'place')).toBeUndefined()
  })

  test('is refused in ten thousand salts that somebody made up, and opens afterwards', () => {
    const ring = new KeyRing([FIRST])
    const sealed = new KeyRing([FIRST]).seal('guilds', 'place')
    for (let round = 0; round < 10_000; round++) {
      const forged = Buffer.from(sealed)
      forged.writeUInt32BE(round, 5)
      if (!forged.equals(sealed)) expect(ring.open(forged, 'place')).toBeUndefined()
    }
    expect(ring.open(sealed, 'place')).toBe('guilds')
  })

  test('is nobody else’s where the ring is ephemeral', () => {
    const sealed = KeyRing.ephemeral().seal('guilds', 'place')
    expect(KeyRing.ephemeral().open(sealed, 'place')).toBeUndefined()
  })
})

describe('names', () => {
  const names = new Names(new KeyRing([FIRST]).namingKey())

  test('are the same in every process that has the key, and other names under another key', () => {
    expect(new Names(new KeyRing([FIRST]).namingKey()).of('user', '1')).toBe(names.of('user', '1'))
    expect(new Names(new KeyRing([SECOND]).namingKey()).of('user', '1')).not.toBe(names.of('user', '1'))
  })

  test('begin from the oldest secret, so that adding a new one changes no name', () => {
    expect(new KeyRing([SECOND, FIRST]).namingKey()).toBe(new KeyRing([FIRST]).namingKey())
  })

  test('differ by purpose and text, and hold neither', () => {
    expect(names.of('user', '1')).not.toBe(names.of('ip', '1'))
    expect(names.of('user', '1')).not.toBe(names.of('user', '2'))
    expect(names.of('user', '80351110224678912')).toMatch(/^[\w-]{22}$/)
  })
})
