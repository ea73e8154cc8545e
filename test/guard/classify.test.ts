import { describe, expect, test } from 'vitest'
import { classify } from '../../src/guard/classify.ts'
import type { RequestClass } from '../../src/http/request-class.ts'

const NAVIGATION = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
const IMAGES = 'image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5'
type Headers = Readonly<Record<string, string>>

const classOf = (method: string, path: string, headers: Headers, apiPrefixes?: readonly string[]) =>
  classify({ method, path, header: (name) => headers[name] ?? null }, apiPrefixes && { apiPrefixes })

describe('what browsers, routers and tools send', () => {
  test.each<[who: string, method: string, path: string, headers: Headers, RequestClass]>([
    [
      'Chrome opens a page',
      'GET',
      '/',
      { accept: NAVIGATION, 'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate' },
      'document',
    ],
    [
      'Firefox opens a page',
      'GET',
      '/guilds/1?tab=2',
      { accept: NAVIGATION, 'sec-fetch-dest': 'document' },
      'document',
    ],
    ['Safari before Sec-Fetch opens a page', 'GET', '/guilds', { accept: NAVIGATION }, 'document'],
    ['Chrome opens a page in a frame', 'GET', '/embed', { accept: NAVIGATION, 'sec-fetch-dest': 'iframe' }, 'document'],
    ['a link checker', 'HEAD', '/guilds', { accept: 'text/html' }, 'document'],
    ['Chrome sends a form', 'POST', '/guilds', { accept: NAVIGATION, 'sec-fetch-dest': 'document' }, 'other'],
    ['Chrome fetches from a script', 'GET', '/data', { accept: '*/*', 'sec-fetch-dest': 'empty' }, 'other'],
    ['Chrome loads a script', 'GET', '/app.js', { accept: '*/*', 'sec-fetch-dest': 'script' }, 'other'],
    ['Chrome loads a style', 'GET', '/app.css', { accept: 'text/css,*/*;q=0.1', 'sec-fetch-dest': 'style' }, 'other'],
    ['Chrome loads a font', 'GET', '/a.woff2', { accept: '*/*', 'sec-fetch-dest': 'font' }, 'other'],
    ['Chrome loads an image', 'GET', '/icon.png', { accept: IMAGES, 'sec-fetch-dest': 'image' }, 'image'],
    [
      'Firefox loads an image by Next',
      'GET',
      '/_next/image?url=%2Fa.png&w=64',
      { accept: IMAGES, 'sec-fetch-dest': 'image' },
      'image',
    ],
    ['old Safari loads an image by Next', 'GET', '/_next/image?url=a', { accept: IMAGES }, 'image'],
    [
      'Chrome prefetches',
      'GET',
      '/next-page',
      { accept: NAVIGATION, 'sec-purpose': 'prefetch', 'sec-fetch-dest': 'empty' },
      'prefetch',
    ],
    [
      'Chrome prerenders',
      'GET',
      '/next-page',
      { accept: NAVIGATION, 'sec-purpose': 'prefetch;prerender', 'sec-fetch-dest': 'document' },
      'prefetch',
    ],
    [
      'Chrome prefetches through a proxy',
      'GET',
      '/p',
      { accept: NAVIGATION, 'sec-purpose': 'prefetch;anonymous-client-ip' },
      'prefetch',
    ],
    ['old Chrome prefetches', 'GET', '/next-page', { accept: NAVIGATION, purpose: 'prefetch' }, 'prefetch'],
    ['old Firefox prefetches', 'GET', '/next-page', { accept: NAVIGATION, 'x-moz': 'prefetch' }, 'prefetch'],
    [
      "Next's router prefetches",
      'GET',
      '/guilds?_rsc=1abc',
      { rsc: '1', 'next-router-prefetch': '1', accept: '*/*' },
      'prefetch',
    ],
    [
      "Next's router prefetches a segment",
      'GET',
      '/guilds?_rsc=1',
      { rsc: '1', 'next-router-segment-prefetch': '/_tree' },
      'prefetch',
    ],
    [
      "Next's router navigates",
      'GET',
      '/guilds?_rsc=1abc',
      { rsc: '1', accept: '*/*', 'sec-fetch-dest': 'empty' },
      'rsc',
    ],
    ['… seen by its query alone', 'GET', '/guilds?tab=2&_rsc=1abc', { accept: '*/*' }, 'rsc'],
    ['… seen by its header alone', 'GET', '/guilds', { rsc: '1' }, 'rsc'],
    ['… asking for its type', 'GET', '/guilds', { accept: 'text/x-component' }, 'rsc'],
    [
      "Next's proxy, which hides the router's headers",
      'GET',
      '/guilds',
      { accept: '*/*', 'sec-fetch-dest': 'empty' },
      'other',
    ],
    ['a server action', 'POST', '/guilds', { 'next-action': '40aa', accept: 'text/x-component' }, 'rsc'],
    [
      'a script of the app calls its API',
      'GET',
      '/api/guilds',
      { accept: 'application/json', 'sec-fetch-dest': 'empty' },
      'api',
    ],
    ['curl calls the API', 'GET', '/api/guilds', { accept: '*/*' }, 'api'],
    ['curl asks for a page', 'GET', '/guilds', { accept: '*/*' }, 'other'],
    ['a client without any header', 'GET', '/', {}, 'other'],
    ['a preflight', 'OPTIONS', '/data', { accept: '*/*', 'sec-fetch-dest': 'empty' }, 'other'],
    ['the bare prefix', 'GET', '/api', {}, 'api'],
    ['the bare prefix with a query', 'GET', '/api?x=1', {}, 'api'],
  ])('%s: %s %s', (_who, method, path, headers, expected) => {
    expect(classOf(method, path, headers)).toBe(expected)
  })
})

describe('who lies about it', () => {
  test.each<[string, string, Headers, RequestClass]>([
    ['a scraper that calls the API a prefetch', '/api/guilds', { 'sec-purpose': 'prefetch' }, 'api'],
    ['… and a flight', '/api/guilds?_rsc=1', { rsc: '1', accept: 'text/x-component' }, 'api'],
    ["… and Next's router", '/api/guilds', { 'next-router-prefetch': '1' }, 'api'],
    ['… and an image', '/api/guilds', { 'sec-fetch-dest': 'image' }, 'api'],
    ['… and a page', '/api/guilds', { accept: NAVIGATION, 'sec-fetch-dest': 'document' }, 'api'],
    ['… in capitals', '/API/guilds', { rsc: '1' }, 'api'],
    ['… with two slashes', '//api//guilds', { rsc: '1' }, 'api'],
    ['… with escapes', '/%61pi/guilds', { rsc: '1' }, 'api'],
    ['… as a whole URL', 'http://app.example/api/guilds', { rsc: '1' }, 'api'],
    ['who only looks like the API', '/apiary', { accept: NAVIGATION }, 'document'],
    ['rsc that is not 1', '/guilds', { rsc: '2', accept: NAVIGATION }, 'document'],
    ['_rsc within another name', '/guilds?not_rsc=1', { accept: NAVIGATION }, 'document'],
    ['_rsc in the path', '/_rsc', { accept: NAVIGATION }, 'document'],
    ['a purpose that is none', '/guilds', { purpose: 'preview', accept: NAVIGATION }, 'document'],
    ['html that is refused', '/guilds', { accept: 'text/html;q=0, */*' }, 'other'],
  ])('%s', (_who, path, headers, expected) => {
    expect(classOf('GET', path, headers)).toBe(expected)
  })
})

test('the prefixes are those of the app', () => {
  expect(classOf('GET', '/v1/guilds', {}, ['/v1', '/graphql/'])).toBe('api')
  expect(classOf('GET', '/graphql/x', {}, ['/v1', '/graphql/'])).toBe('api')
  expect(classOf('GET', '/api/guilds', {}, ['/v1'])).toBe('other')
  expect(classOf('GET', '/anything', { rsc: '1' }, ['/'])).toBe('api')
})
