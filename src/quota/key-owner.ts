const LONGEST_OWNER = 512

/** Whether it can be the owner of a key: a text of 1 to 512 characters that every database keeps as it is. */
export function isOwner(value: unknown): value is string {
  // PostgreSQL has no place for a NUL in a text; refused everywhere, so that a vault can move.
  const isText = typeof value === 'string' && value !== '' && value.length <= LONGEST_OWNER
  return isText && !value.includes('\u0000') && value.isWellFormed()
}

/** What can be told of somebody else's error: name and code, where they are plain words, and nothing of its text. */
export function namelessCause(error: unknown, key: string): Error | undefined {
  if (!(error instanceof Error)) return undefined
  const isWord = (text: unknown): text is string =>
    typeof text === 'string' && /^[A-Za-z_]{1,40}$/.test(text) && !text.includes(key) && !key.includes(text)
  const { name, code } = error as Error & { code?: unknown }
  const words = [isWord(name) ? name : 'Error', ...(isWord(code) ? [code] : [])]
  return new Error(words.join(' '))
}
