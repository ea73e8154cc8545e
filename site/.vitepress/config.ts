import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const docs = new URL('../../docs/', import.meta.url)
/** The groups of docs/README.md, so that there is one order and not two. */
const groups = [...readFileSync(new URL('README.md', docs), 'utf8').matchAll(/^\| \*\*(.+)\*\* \| (.+) \|$/gm)].map(
  ([, text, links]) => ({
    text: text!,
    items: [...links!.matchAll(/\[([^\]]+)\]\(([^)]+)\.md\)/g)].map(([, title, path]) => ({
      text: title!,
      link: `/${path}`,
    })),
  }),
)
const reference = readdirSync(new URL('reference/', docs))
  .filter((file) => file.endsWith('.md'))
  .map((file) => ({ text: file.slice(0, -3), link: `/reference/${file.slice(0, -3)}` }))

export default defineConfig({
  title: 'Holdfast',
  description: 'Keeps your users signed in and their guilds on screen when Discord rate-limits you or is down.',
  srcDir: fileURLToPath(new URL('../site/pages', docs)),
  outDir: fileURLToPath(new URL('../site/built', docs)),
  rewrites: { 'README.md': 'index.md' },
  // What leads out of docs is in the repository and the package, not on the site; every other dead link ends the build.
  ignoreDeadLinks: [/\/\.\.\/\.\.\/|^(\.\/)?(\.\.\/)+(README|CONTRIBUTING|src|test|bench|examples|docs)/],
  themeConfig: {
    search: { provider: 'local' },
    sidebar: [...groups, { text: 'Look up', collapsed: true, items: reference }],
    outline: 'deep',
  },
})
