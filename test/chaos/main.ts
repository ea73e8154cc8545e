// `npm run chaos -- --seed 7 --seconds 600`: everything goes wrong, and is looked at while it does.
import { parseArgs } from 'node:util'
import { ProgressBar } from '../../src/cli/terminal.ts'
import { runChaos } from './chaos.ts'
import { report, summary } from './screen.ts'

const { values } = parseArgs({
  options: { seed: { type: 'string' }, seconds: { type: 'string', default: '60' } },
})
const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
const seconds = Number(values.seconds)
if (!Number.isInteger(seed) || seed < 0 || !(seconds >= 1 && seconds <= 86_400)) {
  process.stderr.write('usage: npm run chaos -- [--seed <whole number>] [--seconds <1 to 86400>]\n')
  process.exit(2)
}

process.stdout.write(`chaos with seed ${seed}, ${seconds} s: npm run chaos -- --seed ${seed} --seconds ${seconds}\n`)
const bar = new ProgressBar(process.stdout, 'chaos')
const standing = await runChaos({
  seed,
  seconds,
  onStanding: (standing) => bar.draw(standing.elapsedMs / standing.lengthMs, standing.stage, summary(standing)),
})
bar.end()
process.stdout.write(`${report(standing)}\n`)
process.exitCode = standing.violations.length === 0 ? 0 : 1
