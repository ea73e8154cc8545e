import { readFileSync } from 'node:fs'

/** How full the container is: bytes that cannot be given back without killing something, of bytes allowed. */
export interface MemoryUse {
  readonly used: number
  readonly limit: number
}

/** Reads a small file; undefined where there is none. */
export type ReadText = (path: string) => string | undefined

const ROOT = '/sys/fs/cgroup'
/** A limit beyond this is cgroup v1's way of writing that there is none. */
const UNLIMITED = 2 ** 60

const readText: ReadText = (path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/**
 * The working set of this process's cgroup, v2 or v1: what it uses less the page cache that the kernel would drop first,
 * as Kubernetes counts before it evicts. Undefined where nothing limits it. Other processes of the container count too;
 * the limit is the tightest on the way up, because a parent's is as deadly as one's own.
 */
export function containerMemory(read: ReadText = readText): MemoryUse | undefined {
  const groups = read('/proc/self/cgroup') ?? ''
  // v2 is one line `0::/path`; v1 has a line for each controller.
  const v2 = /^0::(\/.*)$/m.exec(groups)?.[1]
  const v1 = /^\d+:[^:]*\bmemory\b[^:]*:(\/.*)$/m.exec(groups)?.[1]
  return (
    (v2 !== undefined && tightest(v2, (path) => readV2(`${ROOT}${path}`, read))) ||
    (v1 !== undefined && tightest(v1, (path) => readV1(`${ROOT}/memory${path}`, read))) ||
    undefined
  )
}

/** From the group itself up to the root, which is where a container's own group is mounted. */
function tightest(path: string, use: (path: string) => MemoryUse | undefined): MemoryUse | undefined {
  let found: MemoryUse | undefined
  let at = path === '/' ? '' : path
  for (;;) {
    const here = use(at)
    if (here && (!found || here.used / here.limit > found.used / found.limit)) found = here
    if (at === '') return found
    at = at.slice(0, at.lastIndexOf('/'))
  }
}

function readV2(folder: string, read: ReadText): MemoryUse | undefined {
  return working(
    read(`${folder}/memory.max`),
    read(`${folder}/memory.current`),
    /^inactive_file (\d+)$/m.exec(read(`${folder}/memory.stat`) ?? ''),
  )
}

function readV1(folder: string, read: ReadText): MemoryUse | undefined {
  return working(
    read(`${folder}/memory.limit_in_bytes`),
    read(`${folder}/memory.usage_in_bytes`),
    /^total_inactive_file (\d+)$/m.exec(read(`${folder}/memory.stat`) ?? ''),
  )
}

function working(
  limitText: string | undefined,
  usageText: string | undefined,
  cache: RegExpExecArray | null,
): MemoryUse | undefined {
  const [limit, usage] = [Number(limitText?.trim() || Number.NaN), Number(usageText?.trim() || Number.NaN)]
  if (!(limit > 0 && limit < UNLIMITED) || !(usage >= 0)) return undefined
  return { used: Math.max(0, usage - Number(cache?.[1] ?? 0)), limit }
}
