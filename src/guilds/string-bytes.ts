const HEADER_BYTES = 16

/** What a string costs on V8's heap: two bytes a character as soon as one needs them. */
export function stringBytes(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of one byte
  const perCharacter = /[^\u0000-\u00ff]/.test(text) ? 2 : 1
  return (HEADER_BYTES + text.length * perCharacter + 7) & ~7
}
