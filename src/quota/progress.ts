import type { Clock, Milliseconds } from '../time/clock.ts'
import type { BatchProgress } from './batch-options.ts'

/** `waitingUntil` is monotonic. */
export type TellProgress = (done: number, total: number, waitingUntil: Milliseconds | undefined) => void

/** Tells whoever watches a batch or a stream, who changes nothing of it by throwing or by rejecting. */
export function progressOf(
  { onProgress }: { readonly onProgress?: (progress: BatchProgress) => void },
  clock: Clock,
): TellProgress {
  if (!onProgress) return () => {}
  return (done, total, until) => {
    const waitingUntil = until === undefined ? undefined : new Date(clock.now() + until - clock.monotonic())
    const progress = { done, total, ...(waitingUntil && { waitingUntil }) }
    new Promise<unknown>((resolve) => resolve(onProgress(progress))).catch(() => {})
  }
}
