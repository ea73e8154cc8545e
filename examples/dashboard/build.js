// Puts the chart library (uPlot, a devDependency) where the page finds it. Part of `npm run build`.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const from = dirname(createRequire(import.meta.url).resolve('uplot/package.json'))
const to = new URL('built/', import.meta.url)
const licence = `/*! uPlot, https://github.com/leeoniya/uPlot\n${readFileSync(join(from, 'LICENSE'), 'utf8')}*/\n`
mkdirSync(to, { recursive: true })
// As a module.
const script = readFileSync(join(from, 'dist/uPlot.esm.js'), 'utf8')
writeFileSync(new URL('uplot.js', to), licence + script)
writeFileSync(new URL('uplot.css', to), readFileSync(join(from, 'dist/uPlot.min.css')))
