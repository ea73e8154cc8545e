import { type BucketName, ROUTES, type RouteName, type Wanted } from './route-table.ts'

/** One route that the simulator knows. */
export interface Route {
  readonly name: RouteName
  readonly method: string
  /** The path with `:name` for each id, as the ledger of calls shows it. */
  readonly template: string
  readonly segments: readonly string[]
  readonly caller: Wanted
  /** The OAuth2 scope that a bearer token needs here. */
  readonly scope: string | null
  /** The limit it shares with all routes of the same bucket name; null: no limit but the global one, no headers. */
  readonly bucket: BucketName | null
  /** The parameter that is the top-level resource: each value has a limit of its own. */
  readonly major: string | null
}

/** A path that was understood: the route, or only its template where the method is not supported. */
export interface Match {
  readonly template: string
  readonly route: Route | null
  readonly params: Readonly<Record<string, string>>
}

const routes: readonly Route[] = Object.entries(ROUTES).map(([name, facts]) => {
  const [method, template] = name.split(' ') as [string, string]
  return { name: name as RouteName, method, template, segments: template.slice(1).split('/'), ...facts }
})

const byLength = new Map<number, Route[]>()
for (const route of routes) {
  const same = byLength.get(route.segments.length)
  if (same) same.push(route)
  else byLength.set(route.segments.length, [route])
}

const NO_PARAMS = {}
const withoutParams = new Map(
  routes
    .filter(({ template }) => !template.includes(':'))
    .map((route) => [`${route.method} ${route.template}`, { template: route.template, route, params: NO_PARAMS }]),
)

/** Finds the route of a path (without its `/api/v10`); undefined if there is none for any method. */
export function matchRoute(method: string, path: string): Match | undefined {
  const exact = withoutParams.get(`${method} ${path}`)
  if (exact) return exact
  const segments = path.slice(1).split('/').map(decoded)
  let otherMethod: Match | undefined
  for (const route of byLength.get(segments.length) ?? []) {
    const params = paramsOf(route.segments, segments)
    if (!params) continue
    if (route.method === method) return { template: route.template, route, params }
    otherMethod ??= { template: route.template, route: null, params }
  }
  return otherMethod
}

function paramsOf(template: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (template.length !== segments.length) return undefined
  const params: Record<string, string> = {}
  for (let i = 0; i < template.length; i++) {
    const name = template[i]!
    const segment = segments[i]!
    if (name.startsWith(':')) {
      if (!fits(name, segment)) return undefined
      params[name.slice(1)] = segment
    } else if (name !== segment) return undefined
  }
  return params
}

/** Ids are digits; a token, an emoji and a message's `@original` are not. */
function fits(name: string, segment: string): boolean {
  if (name === ':token' || name === ':emoji') return segment !== ''
  return /^\d+$/.test(segment) || (name === ':message' && segment === '@original')
}

function decoded(segment: string): string {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** A path without the `/api` or `/api/v10` in front: clients may give the base with or without it. */
export function withoutBase(path: string): string {
  if (!path.startsWith('/api')) return path
  return path.replace(/^\/api(\/v\d+)?(?=\/)/, '')
}

/** Which calls a fault's `route` means; throws a TypeError if it could never match. */
export function routeFilter(route: string): (method: string, template: string, path: string) => boolean {
  const [, method, written] = /^(?:([A-Z]+) )?(\/\S*)$/.exec(route) ?? []
  if (written === undefined) throw unknownRoute(route)
  const path = withoutBase(written)
  const prefix = path.endsWith('*') ? path.slice(0, -1) : undefined
  const generic = path.replace(/:[^/]+|\{[^/]+\}/g, ':')
  const templates = new Set(
    routes
      .filter((one) => method === undefined || one.method === method)
      .map((one) => one.template)
      .filter((template) =>
        prefix === undefined ? template.replace(/:[^/]+/g, ':') === generic : template.startsWith(prefix),
      ),
  )
  const literal = routes.some(
    (one) =>
      (method === undefined || one.method === method) &&
      one.template.includes(':') &&
      paramsOf(one.segments, path.slice(1).split('/')),
  )
  if (templates.size === 0 && !literal) throw unknownRoute(route)
  return (calledMethod, template, calledPath) =>
    (method === undefined || method === calledMethod) && (templates.has(template) || calledPath === path)
}

function unknownRoute(route: string): TypeError {
  return new TypeError(
    `fault route ${JSON.stringify(route)} matches nothing the simulator answers; use one of ` +
      `${[...new Set(routes.map(({ template }) => template))].join(', ')} (optionally after a method), a path with real ids, or a prefix ending in *`,
  )
}
