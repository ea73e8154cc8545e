const FORM_TYPE = 'application/x-www-form-urlencoded'

/** The body as a form; null if its Content-Type says that it is none. */
export function formOf(contentType: string | undefined, body: Buffer): URLSearchParams | null {
  if (contentType?.split(';', 1)[0]?.trim().toLowerCase() !== FORM_TYPE) return null
  return new URLSearchParams(body.toString())
}
