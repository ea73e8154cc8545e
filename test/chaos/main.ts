// `npm run chaos -- --seed 7 --seconds 600`: everything goes wrong, and is looked at while it does.
import { parseArgs } from 'node:util'
import { ProgressBar } from '../../src/cli/terminal.ts'
import { runChaos } from './chaos.ts'
import { STAGES } from './redis-stage.ts'
import { report, summary } from './screen.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    redis: { type: 'string', default: 'tcp' },
  },
})
const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
const seconds = Number(values.seconds)
const on = STAGES.find((stage) => stage === values.redis)
if (!on || !Number.isInteger(seed) || seed < 0 || !(seconds >= 1 && seconds <= 86_400)) {
  process.stderr.write(
    'usage: npm run chaos -- [--seed <whole number>] [--seconds <1 to 86400>] [--redis tcp|tls|cluster]\n',
  )
  process.exit(2)
}

const again = `npm run chaos -- --seed ${seed} --seconds ${seconds} --redis ${on}`
process.stdout.write(`chaos with seed ${seed}, ${seconds} s: ${again}\n`)
const bar = new ProgressBar(process.stdout, 'chaos')
const standing = await runChaos({
  seed,
  seconds,
  on,
  onStanding: (standing) => bar.draw(standing.elapsedMs / standing.lengthMs, standing.stage, summary(standing)),
})
bar.end()
process.stdout.write(`${report(standing)}\n`)
process.exitCode = standing.violations.length === 0 ? 0 : 1
