// Runs every bench of this folder, one after the other, or those whose names are given: npm run bench -- drain
// What they reach stands in bench/RESULTS.md afterwards.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { type Result, resultsPage } from './results.ts'

const NOT_A_BENCH = new Set([
  'run.ts',
  'results.ts',
  'soak.ts',
  'figures.ts',
  'discord.ts',
  'fleet.ts',
  'virtual-globals.ts',
  'guild-server.ts',
])
const here = new URL('.', import.meta.url)
const page = new URL('RESULTS.md', here)
const wanted = process.argv.slice(2)
const benches = readdirSync(here)
  .filter((file) => file.endsWith('.ts') && !NOT_A_BENCH.has(file))
  .map((file) => file.replace(/\.ts$/, ''))
for (const name of wanted)
  if (!benches.includes(name)) throw new Error(`no bench is called ${name}; there are ${benches.join(', ')}`)

const machine = `Node ${process.versions.node} on ${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}, ${platform()} ${arch()}) with ${Math.round(totalmem() / 2 ** 30)} GB.`
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
const missed: string[] = []
for (const name of wanted.length > 0 ? wanted : benches) {
  console.log(`\n── ${name} ${'─'.repeat(Math.max(0, 70 - name.length))}\n`)
  const when = `${new Date().toISOString().slice(0, 10)}, ${loadavg()[0]!.toFixed(1)}`
  const kept = join(folder, name)
  const { status } = spawnSync(process.execPath, ['--expose-gc', new URL(`${name}.ts`, here).pathname], {
    stdio: 'inherit',
    env: { ...process.env, HOLDFAST_FIGURES: kept },
  })
  if (status !== 0) missed.push(name)
  const figures = existsSync(kept) ? readFileSync(kept, 'utf8').trim().split('\n') : []
  const results = figures.map((text): Result => ({ bench: name, when, ...JSON.parse(text) }))
  if (results.length === 0) continue
  writeFileSync(page, resultsPage(machine, existsSync(page) ? readFileSync(page, 'utf8') : '', results))
}
rmSync(folder, { recursive: true })
console.log(missed.length === 0 ? '\nevery figure was reached' : `\nfigures were missed in: ${missed.join(', ')}`)
process.exitCode = missed.length === 0 ? 0 : 1
