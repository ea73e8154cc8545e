import type { Milliseconds } from '../time/clock.ts'
import type { AnswerHead, BucketReport, Call } from './call.ts'

/** Who gave a permit, and must hear once what became of its request. */
export interface PermitIssuer {
  /** The answer came. `hash` is Discord's name for the bucket, where the answer had one. */
  answered(permit: Permit, report: BucketReport | undefined, hash: string | undefined, receivedAt: Milliseconds): void
  /** It was sent, or may have been, and no answer came. */
  failed(permit: Permit): void
  /** It was never sent. */
  giveBack(permit: Permit): void
}

/**
 * Leave to send one request, and what became of it. It holds a place in its bucket and in its principal's global limit
 * from the moment it is taken until `Admission.settle`.
 */
export class Permit<Bucket = unknown> {
  readonly call: Call
  /** When it was taken; monotonic. */
  readonly at: Milliseconds
  /** Changes when the bucket's hash is learned. */
  bucket: Bucket
  /** Changes when two names turn out to be one principal. */
  principal: PermitIssuer
  /** Whether this request finds out if the block is over. */
  probe = false
  /** Whether this request finds out if a dead token lives after all. */
  trial = false
  /** Whether its token has never been seen valid. */
  stranger = false
  /** Whether it was handed to a connection: Discord may have counted it. */
  sent = false
  /** The answer's head, as soon as it is there; its body may still be missing. */
  head: AnswerHead | undefined
  /** Whether an answer was judged in full. */
  judged = false
  /** Whether Discord counts it among the invalid requests; undefined as long as nobody knows. */
  invalid: boolean | undefined

  constructor(call: Call, at: Milliseconds, bucket: Bucket, principal: PermitIssuer) {
    this.call = call
    this.at = at
    this.bucket = bucket
    this.principal = principal
  }
}
