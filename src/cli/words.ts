import { parseArgs } from 'node:util'

/** A number among the words of a command. */
export interface NumberWord {
  readonly min: number
  readonly max: number
  readonly fallback: number
}

/** Reads `--name N` and `--flag` words. Throws with a sentence that names the word and what is accepted. */
export function readWords<Numbers extends Record<string, NumberWord>, Flag extends string>(
  words: readonly string[],
  numbers: Numbers,
  flags: readonly Flag[],
): Record<keyof Numbers, number> & Record<Flag, boolean> {
  const options: Record<string, { type: 'string' | 'boolean' }> = {}
  for (const name of Object.keys(numbers)) options[name] = { type: 'string' }
  for (const name of flags) options[name] = { type: 'boolean' }
  const { values } = parseArgs({ args: [...words], options, strict: true, allowPositionals: false })
  const read: Record<string, number | boolean> = {}
  for (const [name, { min, max, fallback }] of Object.entries(numbers)) {
    const text = values[name]
    const value = text === undefined ? fallback : Number(text)
    if (!Number.isInteger(value) || value < min || value > max)
      throw new Error(`--${name} takes a whole number from ${min} to ${max}`)
    read[name] = value
  }
  for (const name of flags) read[name] = values[name] === true
  return read as Record<keyof Numbers, number> & Record<Flag, boolean>
}
