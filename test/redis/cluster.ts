import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@keyv/redis'
import { until } from '../journeys/fleet.ts'
import { freePort, type RedisServer, startRedisServer } from '../support/redis-server.ts'

/** A Redis Cluster of three masters, each with a third of the slots. */
export async function startCluster() {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cluster-'))
  const nodes: RedisServer[] = []
  const buses: number[] = []
  for (let nth = 0; nth < 3; nth++) {
    // The bus port is told: the default, 10 000 above, may be beyond the last port.
    const file = join(folder, `nodes-${nth}.conf`)
    const bus = await freePort()
    const args = ['--cluster-enabled', 'yes', '--cluster-config-file', file, '--cluster-port', String(bus)]
    buses.push(bus)
    nodes.push(await startRedisServer([...args, '--dir', folder, '--cluster-node-timeout', '2000']))
  }
  const clients = await Promise.all(nodes.map(({ url }) => createClient({ url }).connect()))
  const third = Math.ceil(16_384 / 3)
  for (const [nth, client] of clients.entries()) {
    const last = Math.min((nth + 1) * third, 16_384) - 1
    await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', String(nth * third), String(last)])
  }
  for (const client of clients)
    for (const [nth, { port }] of nodes.entries())
      await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(port), String(buses[nth])])
  await until(
    async () => {
      const infos = await Promise.all(clients.map((client) => client.sendCommand(['CLUSTER', 'INFO'])))
      return infos.every((info) => /cluster_state:ok(.|\s)*cluster_known_nodes:3/.test(String(info)))
    },
    20_000,
    'the cluster to be formed',
  )
  for (const client of clients) client.destroy()
  return {
    nodes,
    urls: nodes.map(({ url }) => url),
    async [Symbol.asyncDispose]() {
      for (const node of nodes) await node.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export type Cluster = Awaited<ReturnType<typeof startCluster>>
