#!/usr/bin/env node
// Loads nothing else before it has looked at Node's version: an older one would fail in a dependency, with a stack.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`holdfast needs Node 22.19 or later; this is Node ${process.versions.node}\n`)
  process.exitCode = 1
} else {
  // Whoever reads us may have read enough (`| head`).
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit()
  })
  const { run } = await import('./commands.ts')
  process.exitCode = await run(process.argv.slice(2))
}
