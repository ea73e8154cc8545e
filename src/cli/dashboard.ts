import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A dashboard of examples/ that runs as a process of its own, as it would in production. */
export interface Dashboard {
  readonly url: string
  stop(): Promise<void>
}

/** Starts `examples/dashboard/<file>` on a free port of this machine, with the environment given beside ours. */
export async function startDashboard(
  file: 'server.js' | 'plain.js',
  environment: Readonly<Record<string, string>>,
): Promise<Dashboard> {
  const path = fileURLToPath(new URL(`../../examples/dashboard/${file}`, import.meta.url))
  const child = spawn(process.execPath, [path], {
    env: { ...process.env, PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // Whatever ends this process must not leave the dashboard behind.
  const killed = () => child.kill('SIGKILL')
  process.once('exit', killed)
  const signals = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => {
    const pass = () => {
      child.kill('SIGTERM')
      // Nobody else listens for it: it ends this process, as it would have without us.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
    }
    process.once(signal, pass)
    return () => process.off(signal, pass)
  })
  const stop = async () => {
    // One that has ended listens for nothing: it would end this process in place of who still does.
    for (const forget of signals) forget()
    process.off('exit', killed)
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  return { url: await announcedUrl(child), stop }
}

async function announcedUrl(child: ChildProcess): Promise<string> {
  let printed = ''
  let complaints = ''
  child.stderr?.on('data', (chunk) => {
    complaints += chunk
  })
  return new Promise((resolve, reject) => {
    child.once('exit', (code) =>
      reject(new Error(`the dashboard ended with code ${code}: ${complaints.slice(0, 500)}`)),
    )
    child.stdout?.on('data', (chunk) => {
      printed += chunk
      const url = /listening on (\S+)/.exec(printed)?.[1]
      if (url) resolve(url)
    })
  })
}
