/**
 * What users are in their guilds, as bytes: for each guild the bits of the permissions, lowest first, with the owner in
 * the highest bit of the last byte. Kept in strings of one byte a character, because a string costs 16 bytes beside its
 * content, and a typed array 330. All guilds of a list have the same number of bytes: 7 for the permissions of today.
 */
export type Standings = string

/** The highest bit of a byte. */
const OWNER = 0x80
/** Administrator is bit 3 (Discord's docs, topic Permissions). */
const ADMINISTRATOR = 1 << 3
/** Numbers up to this many digits are exact. */
const EXACT_DIGITS = 15

const SCRATCH_BYTES = 64 * 1024
/** Where strings of bytes are put together. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

/** What a Buffer is written by. Named here, so that the package's declarations do without Node's types. */
export interface WritableBytes extends Uint8Array {
  writeUIntLE(value: number, offset: number, byteLength: number): number
}

/** Writes `length` bytes by `write` and returns them as a string of its own: no slice of anything larger. */
export function bytesAsText(length: number, write: (bytes: WritableBytes) => void): string {
  const bytes = length <= scratch.length ? scratch : Buffer.allocUnsafeSlow(length)
  write(bytes)
  return bytes.toString('latin1', 0, length)
}

/** Packs permissions (decimal, as Discord sends them) and owners, in the order given. */
export function packStandings(
  size: number,
  permissionsAt: (place: number) => string,
  isOwnerAt: (place: number) => boolean,
): Standings {
  const values: Array<number | bigint> = []
  let bits = 0
  for (let place = 0; place < size; place++) {
    const text = permissionsAt(place)
    const value = text.length <= EXACT_DIGITS ? Number(text) : BigInt(text)
    values.push(value)
    bits = Math.max(bits, bitsOf(value))
  }
  const width = (bits >> 3) + 1
  return bytesAsText(size * width, (bytes) => {
    for (let place = 0; place < size; place++) {
      const at = place * width
      writeBits(bytes, at, width, values[place]!)
      if (isOwnerAt(place)) bytes[at + width - 1]! |= OWNER
    }
  })
}

function bitsOf(value: number | bigint): number {
  if (typeof value === 'bigint') return value.toString(2).length
  return value < 2 ** 31 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / 2 ** 32))
}

function writeBits(bytes: WritableBytes, at: number, width: number, value: number | bigint): void {
  let rest = value
  for (let index = at; index < at + width; index++) {
    if (typeof rest === 'bigint') {
      bytes[index] = Number(rest & 0xffn)
      // Written out: what traces files for Next's webpack build takes `>>= 8n` for `= 8n`, and then fails at `% 256` below.
      rest = rest >> 8n
    } else {
      bytes[index] = rest % 256
      rest = Math.floor(rest / 256)
    }
  }
}

/** Whether the member at a place has the permission of this bit; the owner and administrators have every one. */
export function hasBit(standings: Standings, place: number, width: number, bit: number): boolean {
  const at = place * width
  const byte = bit >> 3
  // The owner's bit stands where no permission does: one byte more is taken where it would.
  if (byte < width && (standings.charCodeAt(at + byte) & (1 << (bit & 7))) !== 0) return true
  if ((standings.charCodeAt(at) & ADMINISTRATOR) !== 0) return true
  return (standings.charCodeAt(at + width - 1) & OWNER) !== 0
}

export function isOwnerAt(standings: Standings, place: number, width: number): boolean {
  return (standings.charCodeAt((place + 1) * width - 1) & OWNER) !== 0
}

export function permissionsAt(standings: Standings, place: number, width: number): bigint {
  const low = wordAt(standings, place, width, 0, 4)
  if (width <= 4) return BigInt(low)
  let bits = (BigInt(wordAt(standings, place, width, 4, 7)) << 32n) | BigInt(low)
  for (let index = 7; index < width; index++)
    bits |= BigInt(byteAt(standings, place * width, index, width)) << BigInt(8 * index)
  return bits
}

/** The permissions in decimal, as Discord sends them. */
export function permissionsTextAt(standings: Standings, place: number, width: number): string {
  if (width <= 7) {
    const value = wordAt(standings, place, width, 4, 7) * 2 ** 32 + wordAt(standings, place, width, 0, 4)
    // Numbers that are exact are written several times as fast as bigints.
    if (Number.isSafeInteger(value)) return String(value)
  }
  return String(permissionsAt(standings, place, width))
}

/** The bytes from one index to before another as a number. Four are exact, and so are the three above them. */
function wordAt(standings: Standings, place: number, width: number, from: number, to: number): number {
  let word = 0
  for (let index = Math.min(width, to) - 1; index >= from; index--)
    word = word * 256 + byteAt(standings, place * width, index, width)
  return word
}

function byteAt(standings: Standings, at: number, index: number, width: number): number {
  const byte = standings.charCodeAt(at + index)
  return index === width - 1 ? byte & ~OWNER : byte
}
