/** What a path of the login does. */
export type LoginRoute = 'begin' | 'callback' | 'logout' | 'disconnect' | 'webhook'

/** Below `basePath`: path and method. */
export const LOGIN_ROUTES = {
  begin: ['/discord', 'GET'],
  callback: ['/discord/callback', 'GET'],
  logout: ['/logout', 'POST'],
  disconnect: ['/disconnect', 'POST'],
  webhook: ['/discord/webhook', 'POST'],
} as const satisfies Record<LoginRoute, readonly [path: string, method: 'GET' | 'POST']>

const BY_PATH: ReadonlyMap<string, LoginRoute> = new Map(
  Object.entries(LOGIN_ROUTES).map(([route, [path]]) => [path, route as LoginRoute]),
)

/**
 * Which of the login's routes a path is; undefined for every other path. A path below `publicPath` counts as it is and
 * without it, for proxies that cut it off; one slash at the end changes nothing.
 */
export function loginRouteOf(path: string, basePath: string, publicPath: string): LoginRoute | undefined {
  const own = publicPath !== '' && path.startsWith(`${publicPath}/`) ? path.slice(publicPath.length) : path
  for (const candidate of own === path ? [path] : [own, path]) {
    if (!candidate.startsWith(`${basePath}/`)) continue
    const route = BY_PATH.get(candidate.slice(basePath.length).replace(/(?<=.)\/$/, ''))
    if (route) return route
  }
  return undefined
}

/** Whether the method is the route's; HEAD is a GET without its body. */
export function hasMethod(route: LoginRoute, method: string): boolean {
  return LOGIN_ROUTES[route][1] === (method === 'HEAD' ? 'GET' : method)
}
