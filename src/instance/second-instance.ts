import type { Logger } from '../events/events.ts'
import { processWideSymbol } from './process-wide.ts'

/** Open instances, by application and API; and whether a second one was told of. Shared by all copies of the package. */
const OPEN = processWideSymbol('open-instances')
const processWide = globalThis as { [key: symbol]: Map<string, { count: number; told: boolean }> | undefined }

const WORDS =
  'a second Holdfast instance of one application was made in this process: each counts and caches alone, so Discord is asked twice and answers 429; make one and share it (in Next: oneHoldfast() of holdfast/next)'

/**
 * Notes that an instance was made; the returned function, that it was closed. A second one of the same application is
 * told of once: through the logger, and as a process warning with code HOLDFAST_SECOND_INSTANCE.
 */
export function noteInstance({
  clientId,
  baseUrl,
  logger,
}: {
  readonly clientId: string | undefined
  readonly baseUrl: URL
  readonly logger: Logger | undefined
}): () => void {
  // Without an application's id nobody knows whether two belong together.
  if (clientId === undefined) return () => {}
  processWide[OPEN] ??= new Map()
  const open = processWide[OPEN]
  const name = `${clientId} ${baseUrl.href}`
  const noted = open.get(name) ?? { count: 0, told: false }
  open.set(name, noted)
  noted.count++
  if (noted.count > 1 && !noted.told) {
    noted.told = true
    logger?.warn({ clientId }, WORDS)
    process.emitWarning(WORDS, { code: 'HOLDFAST_SECOND_INSTANCE' })
  }
  let left = false
  return () => {
    if (left) return
    left = true
    noted.count--
    if (noted.count === 0) open.delete(name)
  }
}
