// What one process can hear: messages of the backplane opened a second, and what a message weighs. Beside docs/guides/scale.md.
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { table } from '../figures.ts'

const COUNT = 50_000
const ring = new KeyRing(['a secret of at least thirty-two bytes'])
const other = new KeyRing(['a secret of at least thirty-two bytes'])
const messages = Array.from({ length: COUNT }, (_, nth) =>
  ring
    .seal(JSON.stringify(['sender0123456789', nth, 1_795_000_000_000, 'done', `u18:${nth}guilds`]), 'backplane')
    .toString('base64'),
)
const began = performance.now()
for (const message of messages) other.open(Buffer.from(message, 'base64'), 'backplane')
const perSecond = COUNT / ((performance.now() - began) / 1_000)
table(
  ['one process', 'value'],
  [
    ['messages opened a second', Math.round(perSecond)],
    ['bytes of a message', messages[0]!.length + 16],
  ],
)

/** A fleet in numbers: users who come once an hour, lists fresh for an hour. */
const rows = [1, 10, 100, 1_000].flatMap((processes) =>
  [100_000, 1_000_000, 10_000_000].map((users) => {
    const refreshes = users / 3_600
    const heard = processes > 1 ? refreshes : 0
    return [
      `${processes} processes, ${users} users an hour`,
      Math.round(refreshes),
      Math.round(refreshes * 3),
      Math.round((users * 4_100) / 1e6),
      Math.round(heard),
      `${((100 * heard) / perSecond).toFixed(1)} %`,
      Math.round(heard * processes),
    ]
  }),
)
table(['simulated', 'loads/s', 'commands/s', 'MB in Redis', 'messages/s heard', 'of a processor', 'deliveries/s'], rows)
