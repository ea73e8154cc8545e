// What does `import 'holdfast'` cost before anything is asked, beside @discordjs/rest? Processor time and memory of a
// process that imports one of them and ends, less those of one that imports nothing; interleaved, medians.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { judge, median, table } from './figures.ts'

const ROUNDS = 21
const here = fileURLToPath(new URL('.', import.meta.url))
const MODULES = {
  nothing: '',
  holdfast: `await import(${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)})`,
  '@discordjs/rest': `await import('@discordjs/rest')`,
}
type Name = keyof typeof MODULES

/** Both at the end, so that what V8 has not yet collected is not counted. */
const TELL = `gc(); const { user, system } = process.cpuUsage(); console.log(JSON.stringify({ cpuMs: (user + system) / 1000, bytes: process.memoryUsage().heapUsed + process.memoryUsage().external }))`

const seen: Record<Name, { cpuMs: number; bytes: number }[]> = { nothing: [], holdfast: [], '@discordjs/rest': [] }
for (let round = -2; round < ROUNDS; round++)
  for (const [name, script] of Object.entries(MODULES) as [Name, string][]) {
    const run = spawnSync(
      process.execPath,
      ['--expose-gc', '--no-warnings', '--input-type=module', '-e', `${script}\n${TELL}`],
      { cwd: here, encoding: 'utf8', timeout: 30_000 },
    )
    if (run.status !== 0) throw new Error(`importing ${name} ended with ${run.status}: ${run.stderr}`)
    if (round >= 0) seen[name].push(JSON.parse(run.stdout))
  }

const bare = {
  cpuMs: median(seen.nothing.map((one) => one.cpuMs)),
  bytes: median(seen.nothing.map((one) => one.bytes)),
}
const costOf = (name: Name) => ({
  cpuMs: median(seen[name].map((one) => one.cpuMs)) - bare.cpuMs,
  bytes: median(seen[name].map((one) => one.bytes)) - bare.bytes,
})
const [ours, theirs] = [costOf('holdfast'), costOf('@discordjs/rest')]
table(
  ['import', 'processor time, ms', 'memory, MB'],
  [
    ['holdfast', ours.cpuMs, ours.bytes / 1e6],
    ['@discordjs/rest', theirs.cpuMs, theirs.bytes / 1e6],
  ],
)
judge([
  { name: 'processor time of an import', value: ours.cpuMs / theirs.cpuMs, unit: '× @discordjs/rest', target: 1.2 },
  { name: 'memory of an import', value: ours.bytes / theirs.bytes, unit: '× @discordjs/rest', target: 1.2 },
])
