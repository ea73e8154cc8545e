import type { Page } from 'playwright-core'
import './window.ts'

/** Makes the client of a page of the tests, which tells the server by `x-tab` which tab it is. */
export const makeClient = (page: Page, tab: number | string, options = {}) =>
  page.evaluate(
    ({ tab, options }) => {
      window.client = window.holdfast.createApiClient({
        baseUrl: `${location.origin}/api`,
        fetch: (input, init) => {
          const headers = new Headers(init?.headers)
          headers.set('x-tab', String(tab))
          return fetch(input, { ...init, headers })
        },
        ...options,
      })
    },
    { tab, options },
  )
