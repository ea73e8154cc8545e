#!/usr/bin/env node
import { doctor } from './doctor.ts'
import { simulate } from './simulate.ts'
import { start, story } from './start.ts'

const USAGE = `holdfast <command>

  start      open the dashboard, and play an outage over real HTTP, with and without Holdfast
               --once        only the outage, as story
               PORT in the environment: where the dashboard is (default 3000)
  story      the outage in the terminal
               --seconds N   length of each of the two runs, 10 to 90 (default 30)
               --users N     how many users open pages, 1 to 1000 (default 200)
               --seed N      the same seed makes the same users and visits (default 1)
               --plot FILE   also draw what users got, as SVG
  simulate   run a Discord to test against
               --port N --host ADDRESS --users N --guilds N --latency MS --seed N
               --fault 429:P or a fault's name, P from 0 to 1; may come several times
  doctor     check the configuration and say what to change
`

const COMMANDS: Readonly<Record<string, (words: readonly string[]) => Promise<number>>> = {
  start,
  story,
  simulate,
  doctor,
}

const [name = 'help', ...words] = process.argv.slice(2)
const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
if (command) {
  try {
    process.exitCode = await command(words)
  } catch (error) {
    process.stderr.write(`holdfast ${name}: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
} else {
  const asked = ['help', '--help', '-h'].includes(name)
  ;(asked ? process.stdout : process.stderr).write(asked ? USAGE : `holdfast: unknown command ${name}\n\n${USAGE}`)
  process.exitCode = asked ? 0 : 2
}
