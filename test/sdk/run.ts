// An official SDK in another language against the gateway: its token ends, the refresh brings one that has just expired,
// and inputs are beyond every bound. It has to go on by itself. The programs are in this folder; see CONTRIBUTING.md.
//   node --import tsx test/sdk/run.ts COMMAND…
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startWorld, token } from '../integration/gateway/harness.ts'

const [command, ...args] = process.argv.slice(2)
if (command === undefined)
  throw new Error('Say which program to run: node --import tsx test/sdk/run.ts COMMAND…')

const giveUpMs = 60_000
/** Good for a moment, then one that has expired, then good ones. */
const lifetimesSeconds = [3, -1]
let given = 0

const world = await startWorld()
const tokens = createServer((_request, response) => {
  const lifetime = lifetimesSeconds[given] ?? 600
  given += 1
  void token('ada', lifetime).then((text) => response.end(text))
})
tokens.listen(0, '127.0.0.1')
await once(tokens, 'listening')

const tokenUrl = `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`
const child = spawn(command, args, {
  stdio: 'inherit',
  env: { ...process.env, LOCKSTEP_URL: world.url, TOKEN_URL: tokenUrl },
})
const timer = setTimeout(() => child.kill('SIGKILL'), giveUpMs)
const [code] = (await once(child, 'exit')) as [number | null]
clearTimeout(timer)
tokens.close()
await world.stop()

const passed = code === 0 && given >= 3
console.log(
  `${passed ? 'ok' : 'FAILED'}: the program ended with ${code ?? 'a signal'} and asked for ${given} tokens (3 at least)`,
)
process.exitCode = passed ? 0 : 1
