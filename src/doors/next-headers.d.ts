/** What is used of Next, which this package does not depend on: the file behind `next/headers`, as Node and bundlers find it. */
declare module 'next/headers.js' {
  export function headers(): Promise<Headers>
}
