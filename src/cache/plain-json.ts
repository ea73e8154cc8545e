import { HoldfastError } from '../errors/errors.ts'

/** Deeper than this is taken for a cycle. */
const DEEPEST = 200

/**
 * The rough size in memory of a value that JSON carries unchanged, in bytes. Refuses every other value with
 * HoldfastError VALUE_NOT_JSON that names the place: a Date that is one today and a string once a shared tier is
 * turned on would be found by users. A property that is `undefined` is taken as absent.
 */
export function plainJsonBytes(value: unknown): number {
  return sizeOf(value, '', 0)
}

function sizeOf(value: unknown, place: string, depth: number): number {
  switch (typeof value) {
    case 'string':
      return 16 + value.length
    case 'boolean':
      return 4
    case 'number':
      if (Number.isFinite(value) && !Object.is(value, -0)) return 8
      throw refused(place, `${Object.is(value, -0) ? '-0' : value}`)
    case 'object':
      break
    default:
      throw refused(place, value === undefined ? 'undefined' : `a ${typeof value}`)
  }
  if (value === null) return 4
  if (depth >= DEEPEST) throw refused(place, 'nested too deeply, or within itself')
  let bytes = 16
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++)
      bytes += 8 + sizeOf(value[index], `${place}[${index}]`, depth + 1)
    return bytes
  }
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null)
    throw refused(place, `a ${prototype.constructor?.name || 'class instance'}`)
  if ('toJSON' in value) throw refused(place, 'an object with toJSON')
  for (const name in value) {
    const property = (value as Record<string, unknown>)[name]
    if (property !== undefined) bytes += 16 + sizeOf(property, `${place}.${name}`, depth + 1)
  }
  return bytes
}

function refused(place: string, what: string): HoldfastError {
  return new HoldfastError(
    'VALUE_NOT_JSON',
    `a value cannot be cached as it is: ${place === '' ? 'it' : `value${place.slice(0, 80)}`} is ${what}, which JSON would change; give a codec, or return plain data`,
  )
}
