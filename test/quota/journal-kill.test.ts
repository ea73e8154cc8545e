import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const worker = fileURLToPath(new URL('./journal-worker.ts', import.meta.url))
const ITEMS = 200
const CONCURRENCY = 8

let folder: string
let api: Server
/** How often each item was asked for, and how often an answer to it went out. */
let asked: number[]
let onAsked: (total: number) => void
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'))
  asked = []
  onAsked = () => {}
  api = createServer((request, response) => {
    const item = Number(request.url!.slice(1))
    asked[item] = (asked[item] ?? 0) + 1
    onAsked(asked.reduce((sum, times) => sum + times, 0))
    setTimeout(() => response.end(JSON.stringify({ item, text: 'x'.repeat(40) })), 2 + (item % 5))
  })
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')
})
afterEach(() => {
  api.closeAllConnections()
  api.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A program of its own; `limit`: in blocks of 512 bytes, how large a file it may write. */
function start(how: string, limit?: number): ChildProcess {
  const { port } = api.address() as AddressInfo
  const settings = {
    how,
    journal: join(folder, 'j'),
    api: `http://127.0.0.1:${port}`,
    items: ITEMS,
    concurrency: CONCURRENCY,
  }
  const args = [worker, JSON.stringify(settings)]
  const stdio: ['ignore', 'ignore', 'inherit', 'ipc'] = ['ignore', 'ignore', 'inherit', 'ipc']
  return limit === undefined
    ? spawn(process.execPath, args, { stdio })
    : spawn('/bin/sh', ['-c', `ulimit -f ${limit}; exec "$0" "$@"`, process.execPath, ...args], { stdio })
}

async function resultsOf(child: ChildProcess): Promise<unknown[]> {
  const [results] = await once(child, 'message')
  await once(child, 'exit')
  return results
}

const answers = Array.from({ length: ITEMS }, (_, item) => ({ item, text: 'x'.repeat(40) }))

describe.each(['batch', 'batchStream'])('%s with a journal', (how) => {
  test('that is killed twice goes on, and sends again only what was under way', async () => {
    for (const at of [40, 150]) {
      const child = start(how)
      onAsked = (total) => total >= at && child.kill('SIGKILL')
      await once(child, 'exit')
    }
    onAsked = () => {}
    const text = readFileSync(join(folder, 'j'), 'utf8')
    const written = text
      .split('\n')
      .slice(1, -1)
      .map((line) => JSON.parse(line).index as number)
    const before = [...asked]
    expect(await resultsOf(start(how))).toEqual(answers)
    for (const index of written) expect(asked[index], `item ${index}`).toBe(before[index])
    const again = asked.filter((times) => times > 1).length
    expect(again).toBeLessThanOrEqual(2 * CONCURRENCY)
    expect(text).not.toContain('secret')
  })

  test('on a disk that is full tells what was answered, sends nothing more, and goes on when there is room', async () => {
    const first = await resultsOf(start(how, 12))
    const told = first.filter((result) => typeof result === 'object').length
    expect(first).toContain('BATCH_JOURNAL_UNAVAILABLE')
    expect(told).toBeGreaterThan(10)
    expect(told).toBe(asked.filter((times) => times > 0).length)
    expect(await resultsOf(start(how))).toEqual(answers)
    expect(asked.filter((times) => times > 1).length).toBeLessThanOrEqual(CONCURRENCY)
  })
})
