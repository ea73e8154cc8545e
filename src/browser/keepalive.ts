/** What the bodies of all keepalive requests of a page may weigh together. Source: Fetch standard, HTTP-network-or-cache fetch. */
const BUDGET_BYTES = 65_536

/** What is under way of it. The budget is the page's, so this is too. */
let takenBytes = 0

/** How much a value weighs, as bytes or as its JSON; 0 where only sending it would tell. */
function weigh(value: unknown): number {
  try {
    const { byteLength, size } = Object(value)
    return byteLength ?? size ?? new TextEncoder().encode(JSON.stringify(value)).length
  } catch {
    return 0
  }
}

/**
 * Takes a value's part of the budget until the returned function is called. Undefined where it does not fit: the browser
 * would refuse it without a reason, and too late to say so.
 */
export function takeKeepalive(value: unknown): (() => void) | undefined {
  const bytes = weigh(value)
  if (takenBytes + bytes > BUDGET_BYTES) return
  takenBytes += bytes
  return () => {
    takenBytes -= bytes
  }
}
