/** Calls `leave` if `signal` aborts before `promise` settles; then nothing listens to it any more. Returns the promise. */
export function orLeave<T>(promise: Promise<T>, signal: AbortSignal | undefined, leave: () => void): Promise<T> {
  const end = () => signal?.removeEventListener('abort', leave)
  signal?.addEventListener('abort', leave)
  promise.then(end, end)
  return promise
}
