// The pages are the guides themselves, copied to where VitePress finds its own packages from.
import { cpSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const docs = new URL('../docs/', import.meta.url)
const pages = new URL('pages/', import.meta.url)
rmSync(pages, { recursive: true, force: true })
for (const name of [
  'README.md',
  'architecture.md',
  'release.md',
  'outage.svg',
  'guides',
  'reference',
  'operate',
  'decisions',
])
  cpSync(fileURLToPath(new URL(name, docs)), fileURLToPath(new URL(name, pages)), { recursive: true })
