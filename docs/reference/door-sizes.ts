// What each door of the package weighs, for docs/reference/sizes.md: `node docs/reference/door-sizes.ts` writes it.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

export interface DoorSize {
  readonly door: string
  /** Bytes of our own code, minified and compressed; dependencies are not in it. */
  readonly gzipBytes: number
  /** The packages that it imports when it is loaded, peers included. */
  readonly packages: readonly string[]
}

const root = new URL('../../', import.meta.url)
export const PAGE = new URL('sizes.md', import.meta.url)

/** Bundles the source behind every door, with all packages left outside. */
export async function doorSizes(): Promise<DoorSize[]> {
  const { exports: doors } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    exports: Record<string, string | { default: string }>
  }
  const sizes: DoorSize[] = []
  for (const [door, target] of Object.entries(doors)) {
    if (typeof target === 'string') continue
    const source = target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')
    const { outputFiles, metafile } = await build({
      entryPoints: [fileURLToPath(new URL(source, root))],
      bundle: true,
      splitting: true,
      outdir: 'out',
      write: false,
      metafile: true,
      minify: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
      // package.json says which built files only have effects; of the sources it knows nothing.
      ignoreAnnotations: true,
    })
    // What is imported later, when it is asked for (Redis, a database), is in files of its own.
    const outputs = Object.entries(metafile.outputs)
    const loaded = new Set<string>()
    const visit = (path: string): void => {
      if (loaded.has(path)) return
      loaded.add(path)
      for (const { path: next, kind, external } of metafile.outputs[path]!.imports)
        if (kind === 'import-statement' && !external) visit(next)
    }
    visit(outputs.find(([, { entryPoint }]) => entryPoint?.endsWith(source))![0])
    const text = outputFiles.filter(({ path }) => [...loaded].some((name) => path.endsWith(`/${name}`)))
    const packages = [...loaded].flatMap((path) =>
      metafile.outputs[path]!.imports.filter(
        ({ external, kind, path: name }) => external && kind === 'import-statement' && !/^node:/.test(name),
      ).map(({ path: name }) => name),
    )
    sizes.push({
      door: `holdfast${door.slice(1)}`,
      gzipBytes: gzipSync(Buffer.concat(text.map(({ contents }) => contents)), { level: 9 }).length,
      packages: [...new Set(packages)].sort(),
    })
  }
  return sizes
}

if (import.meta.main) {
  const rows = (await doorSizes()).map(
    ({ door, gzipBytes, packages }) =>
      `| \`${door}\` | ${(gzipBytes / 1000).toFixed(1)} | ${packages.map((name) => `\`${name}\``).join(', ') || '–'} |`,
  )
  writeFileSync(
    PAGE,
    `# What each door weighs
<!-- Written by \`node docs/reference/door-sizes.ts\`. -->

Our own code that is loaded with it, minified and compressed, in kB, and the packages it imports at once. Redis, databases
and what else is only loaded when it is asked for are not in it. A test compares this table with the source.

| door | kB | packages |
| --- | ---: | --- |
${rows.join('\n')}
`,
  )
}
