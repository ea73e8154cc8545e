import { type BatchResult, invalid } from './batch-options.ts'
import { foreign, type Journal } from './journal.ts'
import { requestHash } from './journal-lines.ts'

/** Where a batch keeps its answers before it tells them. */
export interface Keeping<Result> {
  /** Requests that are settled before anything is sent, by their index. */
  readonly settled: ReadonlyMap<number, BatchResult<Result>>
  /** Aborts when nothing more may be sent. */
  readonly failed: AbortSignal
  /** How a request is settled that was answered. Never rejects. */
  keep(index: number, value: Result): Promise<BatchResult<Result>>
}

/** How a request is settled that a journal could not know again. */
export const UNKNOWABLE = {
  status: 'rejected',
  reason: invalid('this request has no JSON, by which a journal could know it again; give it as plain data'),
} as const

/** What the journal knows of these requests already. Rejects where it is another batch's. */
export async function keepingIn<Result>(journal: Journal, requests: readonly unknown[]): Promise<Keeping<Result>> {
  if (journal.length > requests.length)
    throw foreign(`it has answers to more than the ${requests.length} requests of this one`)
  const hashes = requests.map(requestHash)
  const settled = new Map<number, BatchResult<Result>>()
  await journal.begin(hashes[0] ?? '')
  for (const [index, hash] of hashes.entries()) {
    const result = hash === undefined ? UNKNOWABLE : await journal.recall<Result>(index, hash)
    if (result) settled.set(index, result)
  }
  return { settled, failed: journal.failed, keep: (index, value) => journal.keep(index, hashes[index]!, value) }
}
