/** A seeded source of chance: the same seed gives the same sequence on every machine. Not for secrets. */
export interface Random {
  /** At least 0, below 1. */
  next(): number
  /** A whole number, at least 0, below `end`. */
  below(end: number): number
  pick<T>(list: readonly T[]): T
  /** `length` characters of `alphabet` (default: letters and digits). */
  letters(length: number, alphabet?: string): string
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
export const HEX = '0123456789abcdef'

/** A stream of its own for each label, so that asking more of one thing never changes another. */
export function createRandom(seed: number, label: string): Random {
  let state = hash(`${seed}:${label}`)
  const next = () => {
    // mulberry32: 32 bits of state are plenty for test data, and it costs a few nanoseconds.
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (end: number) => Math.floor(next() * end)
  return {
    next,
    below,
    pick: (list) => list[below(list.length)]!,
    letters(length, alphabet = LETTERS) {
      let text = ''
      for (let i = 0; i < length; i++) text += alphabet[below(alphabet.length)]
      return text
    },
  }
}

/** FNV-1a with a final avalanche, so that neighbouring labels start far apart. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return value ^ (value >>> 16)
}
