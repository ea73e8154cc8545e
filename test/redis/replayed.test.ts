import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { FleetNews } from '../../src/discord/fleet.ts'
import { Backplane } from '../../src/redis/backplane.ts'
import type { RedisConnection } from '../../src/redis/connection.ts'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { beside, openFleet, REDIS_URL, type Room, SECRET, until } from './room.ts'

describe.skipIf(!REDIS_URL)('a message that was recorded', () => {
  test('is heard once, however often it is said again', async () => {
    const [a, b] = (await openFleet(2)) as [Room, Room]
    const told: string[] = []
    const listener: FleetNews = {
      noticed: (notice) => void told.push(notice.about),
      egressFree: () => void told.push('free'),
      invalidSent: () => void told.push('invalid'),
      invalidTotals: () => {},
    }
    b.fleet.listen(listener)
    using thief = await beside()
    using listening = await beside()
    const recorded: string[] = []
    await listening.subscribe(`${a.connection.prefix}backplane`, (message) => void recorded.push(message))
    a.fleet.invalidSent(true)
    a.fleet.announce({ about: 'egress' }, 60_000)
    a.fleet.announceEgressFree(10, '')
    await until(() => told.length === 3 && recorded.length >= 3, 5_000, 'three messages')
    const messages = recorded.slice()
    for (let nth = 0; nth < 100; nth++)
      for (const message of messages) await thief.publish(`${a.connection.prefix}backplane`, message)
    await sleep(200)
    expect(told.sort()).toEqual(['egress', 'free', 'invalid'])
    for (const { connection } of [a, b]) connection.close()
  })
})

describe('a message that holds for its moment', () => {
  /** A backplane of one process, at a time of its own. */
  function at(clock: { nowMs: number }) {
    let hear = (_message: Buffer) => {}
    const connection = {
      prefix: 'p:',
      time: { now: () => clock.nowMs },
      listen: (_channel: string, listener: (message: Buffer) => void) => {
        hear = listener
      },
    } as unknown as RedisConnection
    const monotonic = { now: () => clock.nowMs, monotonic: () => clock.nowMs, sleep: async () => {} }
    const backplane = new Backplane(connection, new KeyRing([SECRET]), monotonic)
    return { backplane, hear: (message: string) => hear(Buffer.from(message)) }
  }

  test('is dropped once it is 10 s old; an invalidation never is', () => {
    const clock = { nowMs: 1_000_000 }
    const [sender, receiver] = [at(clock), at(clock)]
    const heard: string[] = []
    receiver.backplane.on('notice', () => heard.push('notice'))
    receiver.backplane.on('key', () => heard.push('key'), { onlyCurrent: false })
    const messages = ['notice', 'key'].map((kind) => sender.backplane.message([kind, 'x'])[1])
    clock.nowMs += 10_001
    for (const message of messages) receiver.hear(message)
    expect(heard).toEqual(['key'])
    receiver.hear(sender.backplane.message(['notice', 'x'])[1])
    expect(heard).toEqual(['key', 'notice'])
  })

  test('that was kept holds no longer than it did when it was said, whatever stands beside it', () => {
    const clock = { nowMs: 1_000_000 }
    const [sender, receiver] = [at(clock), at(clock)]
    const heldFor: unknown[] = []
    receiver.backplane.on('notice', ([, forMs]) => heldFor.push(forMs))
    const sealed = sender.backplane.sealed(['notice', 'x', 5_000])
    clock.nowMs += 3_000
    receiver.backplane.deliver([[sealed, 1e12]])
    expect(heldFor).toEqual([2_000])
    clock.nowMs += 3_000
    receiver.backplane.deliver([[sealed, 1e12]])
    expect(heldFor).toEqual([2_000])
  })

  test('and others are handed on in the order in which they were said, our own among them', () => {
    const clock = { nowMs: 1_000_000 }
    const [one, other] = [at(clock), at(clock)]
    const heard: unknown[] = []
    one.backplane.on('notice', ([what]) => heard.push(what))
    const said: Array<readonly [string, number]> = []
    const say = ({ backplane }: typeof one, what: string, forMs: number) =>
      said.push([backplane.sealed(['notice', what, forMs]), forMs])
    say(other, 'shut', 60_000)
    say(other, 'shut on', 40_000)
    clock.nowMs++
    say(one, 'open', 50_000)
    clock.nowMs++
    say(other, 'shut again', 30_000)
    said.sort(([, first], [, second]) => first - second)
    one.backplane.deliver([...said, ['rubbish', 10_000]])
    expect(heard).toEqual(['shut', 'shut on', 'open', 'shut again'])
    // What is published is another matter: we know what we said.
    one.hear(one.backplane.message(['notice', 'own'])[1])
    expect(heard).toHaveLength(4)
  })
})
