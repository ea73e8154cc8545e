import { ApiError } from './api-error.ts'

/** A number's default (none: it must be given), least, and greatest (none: Infinity). Times end in Ms; other numbers are whole, or Infinity for no bound. */
type Range = readonly [fallback: number | undefined, least: number, greatest?: number]

/** Throws `CONFIG_INVALID`. */
export function refuse(text: string): never {
  throw new ApiError(text, 'CONFIG_INVALID')
}

/** The numbers among options, with defaults filled in. Refuses a name that it does not know, and what is out of range or of the wrong type. */
export function checkOptions<N extends string>(
  options: object,
  numbers: Readonly<Record<N, Range>>,
  others: Readonly<Record<string, string>>,
): Record<N, number> {
  const given = options as Record<string, unknown>
  const checked: Record<string, number> = {}
  for (const name in given) {
    const type = name in numbers ? 'number' : (others[name] ?? refuse(`no option ${name}`))
    if (given[name] !== undefined && typeof given[name] !== type) refuse(`${name} must be a ${type}`)
  }
  for (const name in numbers) {
    const [fallback, least, greatest = Infinity] = numbers[name]
    const value = (given[name] ?? fallback) as number
    const isWhole = /Ms$/.test(name) || value === Infinity || value % 1 === 0
    if (!(value >= least && value <= greatest && isWhole))
      refuse(`${name} must be from ${least} to ${greatest}, and whole`)
    checked[name] = value
  }
  return checked as Record<N, number>
}
