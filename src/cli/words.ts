import { parseArgs } from 'node:util'

/** A number among the words of a command. */
export interface NumberWord {
  readonly min: number
  readonly max: number
  readonly fallback: number
}

/** Reads `--name N`, `--flag`, `--name TEXT`, and words that may come several times. Throws with a sentence that names the word and what is accepted. */
export function readWords<
  Numbers extends Record<string, NumberWord>,
  Flag extends string = never,
  Text extends string = never,
  List extends string = never,
>(
  words: readonly string[],
  numbers: Numbers,
  flags: readonly Flag[] = [],
  texts: readonly Text[] = [],
  lists: readonly List[] = [],
): Record<keyof Numbers, number> &
  Record<Flag, boolean> &
  Record<Text, string | undefined> &
  Record<List, readonly string[]> {
  const options: Record<string, { type: 'string' | 'boolean'; multiple?: true }> = {}
  for (const name of Object.keys(numbers)) options[name] = { type: 'string' }
  for (const name of flags) options[name] = { type: 'boolean' }
  for (const name of texts) options[name] = { type: 'string' }
  for (const name of lists) options[name] = { type: 'string', multiple: true }
  const { values } = parseArgs({ args: [...words], options, strict: true, allowPositionals: false })
  const read: Record<string, number | boolean | string | readonly string[] | undefined> = {}
  for (const [name, { min, max, fallback }] of Object.entries(numbers)) {
    const text = values[name]
    const value = text === undefined ? fallback : /^\d+$/.test(String(text)) ? Number(text) : Number.NaN
    if (!Number.isInteger(value) || value < min || value > max)
      throw new Error(`--${name} takes a whole number from ${min} to ${max}`)
    read[name] = value
  }
  for (const name of flags) read[name] = values[name] === true
  for (const name of texts) read[name] = values[name] as string | undefined
  for (const name of lists) read[name] = (values[name] as string[] | undefined) ?? []
  return read as Record<keyof Numbers, number> &
    Record<Flag, boolean> &
    Record<Text, string | undefined> &
    Record<List, readonly string[]>
}
