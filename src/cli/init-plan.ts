/** What `holdfast init` has found of a project. */
export interface Project {
  /** Its package.json, as it was read. */
  readonly manifest: {
    readonly type?: unknown
    readonly dependencies?: Readonly<Record<string, unknown>>
    readonly devDependencies?: Readonly<Record<string, unknown>>
  }
  /** Whether a path is there, relative to the project. */
  readonly has: (path: string) => boolean
}

export const FRAMEWORKS = ['next', 'express', 'fastify', 'hono'] as const
export type Framework = (typeof FRAMEWORKS)[number]

export interface InitPlan {
  readonly framework: Framework
  /** In the order in which they are shown and written; `isThere` ones are left as they are. */
  readonly files: readonly { readonly path: string; readonly text: string; readonly isThere: boolean }[]
  /** What the user does by hand afterwards, a line each. */
  readonly afterwards: readonly string[]
}

const ENVIRONMENT = `# Where users reach this app. Register <this>/auth/discord/callback as a redirect URI at
# https://discord.com/developers/applications, where the id and the secret come from.
HOLDFAST_PUBLIC_URL=http://localhost:3000
DISCORD_CLIENT_ID=
DISCORD_CLIENT_SECRET=

# Several processes, and sessions that outlive a restart: openssl rand -base64 32
# HOLDFAST_SECRET=
# REDIS_URL=redis://localhost:6379
# DATABASE_URL=sqlite:holdfast.db
`

/** The frameworks that a project depends on. */
export function frameworksOf({ manifest }: Project): Framework[] {
  const named = { ...manifest.devDependencies, ...manifest.dependencies }
  return FRAMEWORKS.filter((framework) => Object.hasOwn(named, framework))
}

/** What would be written into a project of this framework. Pure. */
export function planInit(framework: Framework, project: Project): InitPlan {
  const typed = project.has('tsconfig.json')
  const ending = typed ? 'ts' : framework === 'next' || project.manifest.type === 'module' ? 'js' : 'mjs'
  const source = project.has('src') ? 'src/' : ''
  const { files, afterwards } =
    framework === 'next'
      ? nextFiles(project.has('src/app') ? 'src/' : '', ending)
      : { files: { [`${source}discord.${ending}`]: SERVERS[framework].text(typed) }, afterwards: [] }
  const import_ = `import { discord } from './discord.${typed ? 'ts' : ending}'`
  return {
    framework,
    files: Object.entries({ ...files, '.env.example': ENVIRONMENT }).map(([path, text]) => ({
      path,
      text,
      isThere: project.has(path),
    })),
    afterwards: [
      ...afterwards,
      ...(framework === 'next' ? [] : [`in your app: ${import_}, and ${SERVERS[framework].use}`]),
      'copy .env.example to .env, and fill it in; npx holdfast doctor says what is missing',
      'no application at Discord yet: npx holdfast simulate prints what to use instead',
    ],
  }
}

/** From both route files, which are equally deep. */
const IMPORT_HOLDFAST = `import { holdfast } from '${'../'.repeat(3)}lib/holdfast'`

function nextFiles(base: string, ending: string): { files: Record<string, string>; afterwards: string[] } {
  return {
    files: {
      [`${base}lib/holdfast.${ending}`]: `import { oneHoldfast } from 'holdfast/next'

// One for the whole process, however often Next evaluates this file.
export const holdfast = oneHoldfast()
`,
      [`${base}app/auth/[...holdfast]/route.${ending}`]: `import { login } from 'holdfast/next'
${IMPORT_HOLDFAST}

// /auth/discord signs in, POST /auth/logout signs out.
export const { GET, POST } = login({ holdfast })
`,
      [`${base}app/api/guilds/route.${ending}`]: `${IMPORT_HOLDFAST}

export const GET = holdfast.withAuth(async (_request, { user, guilds, stale }) =>
  Response.json({ user, stale, guilds }),
)
`,
    },
    afterwards: ['link to /auth/discord?returnTo=/ on a page; pages ask pageAuth() of holdfast/next'],
  }
}

const SERVERS: Readonly<Record<Exclude<Framework, 'next'>, { use: string; text: (typed: boolean) => string }>> = {
  express: {
    use: 'app.use(discord), in front of express.json()',
    text: (typed) => `import { Router } from 'express'
import { createHoldfast } from 'holdfast'
import { guard, login, requireAuth } from 'holdfast/express'

const holdfast = createHoldfast()

/** Sign-in at /auth/discord, and one route that only who is signed in may read. */
export const discord${typed ? ': Router' : ''} = Router()
discord.use('/api/guilds', guard({ holdfast, rules: { '*': '60/minute' } }))
discord.use(login({ holdfast }))
discord.get('/api/guilds', requireAuth({ holdfast }), (request, response) => {
  const { user, guilds, stale } = request.auth
  response.json({ user, stale, guilds })
})
`,
  },
  fastify: {
    use: 'await discord(app)',
    text: (
      typed,
    ) => `${typed ? "import type { FastifyInstance } from 'fastify'\n" : ''}import { createHoldfast } from 'holdfast'
import { holdfast as plugin } from 'holdfast/fastify'

const holdfast = createHoldfast()

/** Sign-in at /auth/discord, and one route that only who is signed in may read. */
export async function discord(app${typed ? ': FastifyInstance' : ''}) {
  await app.register(plugin, { holdfast, guard: { rules: { '/api/guilds': '60/minute' } }, login: true })
  app.get('/api/guilds', { preHandler: app.requireAuth() }, async ({ auth }) => {
    const { user, guilds, stale } = auth
    return { user, stale, guilds }
  })
}
`,
  },
  hono: {
    use: "app.route('/', discord)",
    text: () => `import { createHoldfast } from 'holdfast'
import { guard, login, requireAuth } from 'holdfast/hono'
import { Hono } from 'hono'

const holdfast = createHoldfast()

/** Sign-in at /auth/discord, and one route that only who is signed in may read. */
export const discord = new Hono()
discord.use('/api/guilds', guard({ holdfast, rules: { '*': '60/minute' } }))
discord.use('/auth/*', login({ holdfast }))
discord.get('/api/guilds', requireAuth({ holdfast }), (c) => {
  const { user, guilds, stale } = c.get('auth')
  return c.json({ user, stale, guilds: guilds.toJSON() })
})
`,
  },
}
