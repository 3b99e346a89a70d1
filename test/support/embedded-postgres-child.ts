// A process that owns an embedded Postgres, for tests that kill such a process. Arguments: directory, then what to do.
// Prints one line of JSON, then waits to be ended: by a signal, or when its standard input closes.
import { EmbeddedPostgresError, startEmbeddedPostgres } from '../../tools/embedded-postgres/index.ts'

const [directory = '', then = 'wait'] = process.argv.slice(2)
const print = (line: object): unknown => process.stdout.write(`${JSON.stringify(line)}\n`)

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
