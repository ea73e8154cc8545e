/** One file of a multipart body. */
export interface FilePart {
  readonly name: string
  readonly filename: string
  readonly contentType: string | undefined
  readonly data: Buffer
}

/** A multipart body, taken apart (RFC 7578). */
export interface Multipart {
  readonly fields: Readonly<Record<string, string>>
  readonly files: readonly FilePart[]
}

const CRLF2 = Buffer.from('\r\n\r\n')

/** The parts of a multipart body; null if it is none, or breaks off. */
export function multipartOf(contentType: string | undefined, body: Buffer): Multipart | null {
  const match = /^multipart\/form-data\s*;.*?boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(contentType ?? '')
  const boundary = match?.[1] ?? match?.[2]
  if (boundary === undefined) return null
  const delimiter = Buffer.from(`--${boundary}`)
  const fields: Record<string, string> = {}
  const files: FilePart[] = []
  let at = body.indexOf(delimiter)
  if (at < 0) return null
  while (true) {
    const start = at + delimiter.length
    if (body.subarray(start, start + 2).toString() === '--') return { fields, files }
    const end = body.indexOf(Buffer.concat([Buffer.from('\r\n'), delimiter]), start)
    const headEnd = body.indexOf(CRLF2, start)
    if (end < 0 || headEnd < 0) return null
    const head = body.subarray(start, headEnd).toString()
    // A part without content has its blank line right before the next delimiter.
    const data = headEnd + CRLF2.length <= end ? body.subarray(headEnd + CRLF2.length, end) : Buffer.alloc(0)
    const disposition = /^content-disposition:(.*)$/im.exec(head)?.[1] ?? ''
    const name = parameter(disposition, 'name') ?? ''
    const filename = parameter(disposition, 'filename')
    if (filename === undefined) fields[name] = data.toString()
    else files.push({ name, filename, contentType: /^content-type:\s*(\S+)/im.exec(head)?.[1], data })
    at = end + 2
  }
}

function parameter(disposition: string, name: string): string | undefined {
  const found = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]+))`, 'i').exec(disposition)
  const text = found?.[1]?.replace(/\\(.)/g, '$1') ?? found?.[2]
  return text?.replace(/%22/g, '"')
}
