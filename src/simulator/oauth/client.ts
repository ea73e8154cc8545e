/** The client id and secret that a form endpoint was called with: Basic, or in the form (RFC 6749, section 2.3.1). */
export function clientOf(form: URLSearchParams, authorization: string | undefined): [string | null, string | null] {
  if (authorization === undefined) return [form.get('client_id'), form.get('client_secret')]
  const encoded = /^Basic +(\S+)$/i.exec(authorization)?.[1] ?? ''
  const [id = '', ...secret] = Buffer.from(encoded, 'base64').toString().split(':')
  return [formDecoded(id), formDecoded(secret.join(':'))]
}

/** Id and secret are form-encoded before they go into Basic. */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
