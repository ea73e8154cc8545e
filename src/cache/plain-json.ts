import { HoldfastError } from '../errors/errors.ts'
import { stringBytes } from '../guilds/string-bytes.ts'

/** Deeper than this is taken for a cycle. */
const DEEPEST = 200

/**
 * What a value that JSON carries unchanged costs on V8's heap, in bytes: at least what it does as `JSON.parse` makes it,
 * and at most three times that. Refuses every other value with HoldfastError VALUE_NOT_JSON that names the place: a Date
 * that is one today and a string once a shared tier is turned on would be found by users. A property that is `undefined`
 * is taken as absent. Objects of another realm (a test runner's, a vm's) are as plain as ours.
 */
export function plainJsonBytes(value: unknown): number {
  try {
    return sizeOf(value, undefined, 0)
  } catch (error) {
    // Where it is wrong is found on a second way: writing down each place on the first would cost as much as the rest.
    sizeOf(value, '', 0)
    throw error
  }
}

const OBJECT_BYTES = 56
const ARRAY_BYTES = 56
/** A reference, and some of the room that V8 keeps free beside it. */
const SLOT_BYTES = 11
const NUMBER_BYTES = 16
/** A property name that no other object has makes a shape of its own, or a row of a hash table. */
const OWN_NAME_BYTES = 150
/** Names that are as long, or hold such digits, are ids, and not names that many objects share. */
const LONG_NAME = 32
const DIGITS = /\d{4}/
const LARGEST_SMALL = 2 ** 31

/** Without a `place` a refusal does not name it. */
function sizeOf(value: unknown, place: string | undefined, depth: number): number {
  switch (typeof value) {
    case 'string':
      return stringBytes(value)
    case 'boolean':
      return 0
    case 'number':
      if (!Number.isFinite(value) || Object.is(value, -0))
        throw refused(place, `${Object.is(value, -0) ? '-0' : value}`)
      return Number.isInteger(value) && Math.abs(value) < LARGEST_SMALL ? 0 : NUMBER_BYTES
    case 'object':
      break
    default:
      throw refused(place, value === undefined ? 'undefined' : `a ${typeof value}`)
  }
  if (value === null) return 0
  if (depth >= DEEPEST) throw refused(place, 'nested too deeply, or within itself')
  if (Array.isArray(value)) {
    let bytes = ARRAY_BYTES
    for (let index = 0; index < value.length; index++)
      bytes += SLOT_BYTES + sizeOf(value[index], place === undefined ? place : `${place}[${index}]`, depth + 1)
    return bytes
  }
  if (!isPlain(value)) throw refused(place, `a ${Object.getPrototypeOf(value).constructor?.name || 'class instance'}`)
  if ('toJSON' in value) throw refused(place, 'an object with toJSON')
  let bytes = OBJECT_BYTES
  for (const name in value) {
    const property = (value as Record<string, unknown>)[name]
    if (property === undefined) continue
    if (name.length >= LONG_NAME || (name.length >= 4 && DIGITS.test(name))) bytes += OWN_NAME_BYTES + stringBytes(name)
    bytes += SLOT_BYTES + sizeOf(property, place === undefined ? place : `${place}.${name}`, depth + 1)
  }
  return bytes
}

/** Whether it is an object literal, of this realm or another: its prototype is the end of the chain, and an Object's. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
}

function refused(place: string | undefined, what: string): HoldfastError {
  return new HoldfastError(
    'VALUE_NOT_JSON',
    `a value cannot be cached as it is: ${place ? `value${place.slice(0, 80)}` : 'it'} is ${what}, which JSON would change; give a codec, or return plain data`,
  )
}
