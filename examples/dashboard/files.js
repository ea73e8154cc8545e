// The page's own files, read once: nothing is loaded from anywhere else.
import { readdirSync, readFileSync } from 'node:fs'

const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8' }

const read = (path) => readFileSync(new URL(path, import.meta.url))
/** Path → where its file is. `built/` is made by `npm run build`: uPlot, in one file each. */
const FILES = {
  '/': 'page/index.html',
  '/app.js': 'page/app.js',
  '/charts.js': 'page/charts.js',
  '/laboratory-page.js': 'page/laboratory-page.js',
  '/guilds.js': 'page/guilds.js',
  '/style.css': 'page/style.css',
  '/uplot.js': 'built/uplot.js',
  '/uplot.css': 'built/uplot.css',
}

const files = new Map(
  Object.entries(FILES).map(([path, file]) => [path, { type: TYPES[file.split('.').pop()], body: read(file) }]),
)

// Holdfast's own part for browsers: a few modules without dependencies, beside each other.
const browser = new URL('.', import.meta.resolve('holdfast/browser'))
for (const name of readdirSync(browser))
  if (name.endsWith('.js'))
    files.set(`/holdfast/${name}`, { type: TYPES.js, body: readFileSync(new URL(name, browser)) })

/** Only ourselves; pictures also from Discord, where guilds' icons are. */
const POLICY =
  "default-src 'self'; img-src 'self' data: https://cdn.discordapp.com; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

/** Without a laboratory its part of the page is not there from the beginning: what came or went later would make the rest jump. */
export function leaveOutLaboratory() {
  const { type, body } = files.get('/')
  files.set('/', { type, body: String(body).replace('<body>', '<body class="alone">') })
}

/** Answers a request for one of the page's files; false for every other. */
export function sendFile(pathname, response) {
  const file = files.get(pathname)
  if (!file) return false
  response
    .writeHead(200, {
      'content-type': file.type,
      'cache-control': 'no-cache',
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
    })
    .end(file.body)
  return true
}
