// Runs every bench of this folder, one after the other, or those whose names are given: npm run bench -- drain
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'

const NOT_A_BENCH = new Set([
  'run.ts',
  'soak.ts',
  'figures.ts',
  'discord.ts',
  'fleet.ts',
  'virtual-globals.ts',
  'guild-server.ts',
])
const here = new URL('.', import.meta.url)
const wanted = process.argv.slice(2)
const benches = readdirSync(here)
  .filter((file) => file.endsWith('.ts') && !NOT_A_BENCH.has(file))
  .map((file) => file.replace(/\.ts$/, ''))
for (const name of wanted)
  if (!benches.includes(name)) throw new Error(`no bench is called ${name}; there are ${benches.join(', ')}`)
const missed: string[] = []
for (const name of wanted.length > 0 ? wanted : benches) {
  console.log(`\n── ${name} ${'─'.repeat(Math.max(0, 70 - name.length))}\n`)
  const { status } = spawnSync(process.execPath, ['--expose-gc', new URL(`${name}.ts`, here).pathname], {
    stdio: 'inherit',
  })
  if (status !== 0) missed.push(name)
}
console.log(missed.length === 0 ? '\nevery figure was reached' : `\nfigures were missed in: ${missed.join(', ')}`)
process.exitCode = missed.length === 0 ? 0 : 1
