/** Kept equal to package.json's version by a test. */
export const VERSION = '0.1.0'

/**
 * `DiscordBot (url, version)`, which Discord requires of every client (docs, API reference, User Agent). The URL says
 * whom to write to when a client misbehaves: the app's own public URL where it is known.
 */
export function userAgent(publicUrl: string | undefined): string {
  return `DiscordBot (${publicUrl ?? 'https://holdfast.invalid'}, ${VERSION}) Holdfast/${VERSION}`
}
