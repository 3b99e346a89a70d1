// A process that owns an embedded Postgres, for tests that kill such a process. Arguments: directory, then what to do.
// Prints one line of JSON, then waits to be ended: by a signal, or when its standard input closes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EmbeddedPostgresError, startEmbeddedPostgres } from '../../tools/embedded-postgres/index.ts'

const [directory = '', then = 'wait'] = process.argv.slice(2)
const print = (line: object): unknown => process.stdout.write(`${JSON.stringify(line)}\n`)

// Ends the process as a second Ctrl-C does: the server has begun, and is not ready yet.
if (then === 'exit early') {
  setInterval(() => {
    const pid = pidOfServer()
    if (pid === 0) return
    print({ pid })
    process.exit(0)
  }, 1)
}

try {
  const server = await startEmbeddedPostgres({ directory, durable: false })
  print({ pid: server.pid, port: server.port, url: server.url })
  if (then === 'exit') process.exit(0)
  process.stdin.resume()
  await new Promise((resolve) => process.stdin.once('end', resolve))
  await server.stop()
  print({ stopped: true })
} catch (error) {
  print({
    error: error instanceof EmbeddedPostgresError ? error.code : String(error),
    message: String(error),
  })
  process.exitCode = 1
}

/** Process id of the server; 0 while there is none. */
function pidOfServer(): number {
  try {
    return Number.parseInt(readFileSync(join(directory, 'data', 'postmaster.pid'), 'utf8')) || 0
  } catch {
    return 0
  }
}
