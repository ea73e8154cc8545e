// Imported first by every door of the package that runs on a server, for what it does when it is imported: on a runtime
// that is too old it throws one sentence, before a dependency fails with a stack of its own. Ends no process.

const OLDEST = { major: 22, minor: 19 }

const version: string | undefined = globalThis.process?.versions?.node
const [major = 0, minor = 0] = (version ?? '').split('.').map(Number)
if (version !== undefined && (major < OLDEST.major || (major === OLDEST.major && minor < OLDEST.minor)))
  throw new Error(`holdfast needs Node ${OLDEST.major}.${OLDEST.minor} or later; this is Node ${version}`)

export {}
