import type { Clock } from '../../time/clock.ts'
import type { Application } from './application.ts'
import { createChannels } from './channels.ts'
import { createMessages } from './messages.ts'
import type { People } from './people.ts'
import { createRandom } from './random.ts'
import { createIds } from './snowflake.ts'
import type { World } from './world.ts'

/** The world of one simulator. */
export function createWorld(
  seed: number,
  clock: Clock,
  application: Application,
  people: People,
  outside: Pick<World, 'origin' | 'dispatch'>,
): World {
  const random = createRandom(seed, 'world')
  const now = () => clock.now()
  return {
    ...outside,
    application,
    people,
    channels: createChannels(seed, people),
    messages: createMessages(),
    webhooks: new Map(),
    commands: new Map(),
    now,
    newId: createIds(now),
    newToken: (length) => random.letters(length),
  }
}
