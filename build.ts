// Builds what the package runs: each door of package.json in dist/, beside the types that tsc has written there. The
// house has one concept a file, and a file is what an import pays for: what doors share is put together into a few parts,
// and what is loaded when it is configured (Redis' own names, a database, sign-in) stays apart.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { PermissionFlagsBits } from 'discord-api-types/v10'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const { exports: doors } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string | { default: string }>
}
const built = Object.values(doors).flatMap((target) => (typeof target === 'string' ? [] : [target.default]))
const nameOf = (file: string) => file.replace('./dist/', '').replace(/\.js$/, '')
const inBrowsers = (file: string) => file.startsWith('./dist/browser/')
const servers = built.filter((file) => !inBrowsers(file)).map(nameOf)

const settings: BuildOptions = {
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2023',
  packages: 'external',
  // Its `paths` lead from the package's own name to the sources.
  tsconfigRaw: {},
  sourcemap: true,
  sourcesContent: false,
  // package.json says which built files are imported for their effects; of the sources it knows nothing.
  ignoreAnnotations: true,
  outdir: 'dist',
}

/** An import's effects come in order only between files: what has to come first stays a file of its own. */
const RUNTIME = 'config/runtime'
const withoutRuntime: Plugin = {
  name: 'without-runtime',
  setup: (being) => {
    being.onLoad({ filter: /src[\\/]config[\\/]runtime\.ts$/ }, () => ({ contents: 'export {}' }))
  },
}

/** Forty files of discord-api-types for the fifty bits in one of them: they are written out instead. */
const bits = Object.entries(PermissionFlagsBits).map(([name, bit]) => `${name}: ${bit}n`)
const withPermissionsWrittenOut: Plugin = {
  name: 'with-permissions-written-out',
  setup: (being) => {
    being.onResolve({ filter: /^discord-api-types\/v10$/ }, ({ importer, path }) =>
      /guilds[\\/]permissions\.ts$/.test(importer) ? { path, namespace: 'permissions' } : undefined,
    )
    being.onLoad({ filter: /./, namespace: 'permissions' }, () => ({
      contents: `export const PermissionFlagsBits = Object.freeze({ ${bits.join(', ')} })`,
    }))
  },
}

rmSync('dist/parts', { recursive: true, force: true })
await Promise.all([
  build({
    ...settings,
    platform: 'node',
    entryPoints: Object.fromEntries(servers.map((name) => [`parts/${name}`, `src/${name}.ts`])),
    chunkNames: 'parts/[name]-[hash]',
    plugins: [withoutRuntime, withPermissionsWrittenOut],
  }),
  build({
    ...settings,
    platform: 'node',
    entryPoints: { 'cli/main': 'src/cli/main.ts' },
    chunkNames: 'cli/[name]-[hash]',
  }),
  build({
    ...settings,
    platform: 'browser',
    entryPoints: Object.fromEntries(built.filter(inBrowsers).map((file) => [nameOf(file), `src/${nameOf(file)}.ts`])),
    chunkNames: 'browser/[name]-[hash]',
  }),
  build({
    ...settings,
    platform: 'neutral',
    entryPoints: { [RUNTIME]: `src/${RUNTIME}.ts`, 'config/edge-runtime': 'src/config/edge-runtime.ts' },
  }),
])
for (const name of servers) {
  const to = (other: string) => {
    const path = relative(dirname(name), other)
    return path.startsWith('.') ? path : `./${path}`
  }
  mkdirSync(dirname(`dist/${name}`), { recursive: true })
  writeFileSync(`dist/${name}.js`, `import '${to(RUNTIME)}.js'\nexport * from '${to(`parts/${name}`)}.js'\n`)
}
