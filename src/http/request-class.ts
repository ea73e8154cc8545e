/**
 * What a request is for, as far as its path and headers tell: a page (`document`), an API call (`api`), what Next's
 * router fetches for a page (`rsc`), what a browser fetches ahead of need (`prefetch`), an `image`, anything else.
 */
export type RequestClass = 'document' | 'api' | 'rsc' | 'prefetch' | 'image' | 'other'
