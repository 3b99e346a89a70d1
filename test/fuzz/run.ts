// The fuzz lane: hostile frames from a seed against a server process on Postgres, with a healthy connection watched throughout.
//   node --import tsx test/fuzz/run.ts --frames 50000 --seed 1
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { signToken } from '../../src/index.ts'
import { closeCodes } from '../../src/protocol/index.ts'
import { seeded } from '../faults/random.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { attack, type Ending } from './attacker.ts'
import { Control } from './control.ts'
import type { Vitals } from './server.ts'

const { values } = parseArgs({
  options: { frames: { type: 'string', default: '50000' }, seed: { type: 'string' } },
})
const total = Number(values.frames)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)

const secret = 'a secret of the fuzz lane, at least 32 bytes'
const warmUp = 2_000
const framesPerAttack = 10
const atOnce = 24
const maxGrowthBytes = 64 * 1024 * 1024
const maxStallMs = 200
/** Ours, and those that the WebSocket layer sends for frames that break RFC 6455. */
const documented: ReadonlySet<number> = new Set([...Object.values(closeCodes), 1002, 1007, 1008, 1009])
const statuses: ReadonlySet<number> = new Set([0, 101, 200, 400, 404, 405, 413, 426, 429, 431, 503, 505])

let failed = 0
const checked = new Map<string, boolean>()
function check(name: string, holds: boolean, shown: string): void {
  checked.set(name, holds)
  if (!holds) failed += 1
  console.log(`  ${holds ? 'ok    ' : 'FAILED'}  ${name}: ${shown}`)
}

async function start(databaseUrl: string): Promise<{ server: ChildProcess; port: number }> {
  const server = fork(fileURLToPath(new URL('server.ts', import.meta.url)), {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    env: { ...process.env, FUZZ_SERVER: JSON.stringify({ databaseUrl, secret }) },
  })
  const [{ ready }] = (await once(server, 'message')) as [{ ready: number }]
  return { server, port: ready }
}

async function vitalsOf(server: ChildProcess): Promise<Vitals> {
  server.send('collect')
  const [{ vitals }] = (await once(server, 'message')) as [{ vitals: Vitals }]
  return vitals
}

async function attackAll(port: number, frames: number, from: number): Promise<Ending[]> {
  const endings: Ending[] = []
  const count = Math.ceil(frames / framesPerAttack)
  let next = 0
  const one = async (): Promise<void> => {
    for (let n = next; n < count; n = next) {
      next += 1
      const random = seeded(seed).fork(`${from + n}`)
      const token = random.chance(0.85) ? await signToken(secret, `eve${n % 40}`, 600) : undefined
      endings.push(await attack({ port, random, token, frames: framesPerAttack }))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
  return endings
}

async function main(): Promise<void> {
  console.log(`seed ${seed}, ${total} frames`)
  const postgres = await startOwnPostgres({ durable: false })
  const { server, port } = await start(postgres.server.url)
  let exited = false
  server.once('exit', () => (exited = true))
  try {
    const control = await Control.open(
      `ws://127.0.0.1:${port}/lockstep/ws`,
      await signToken(secret, 'control', 600),
    )
    await attackAll(port, warmUp, -1_000_000)
    const before = await vitalsOf(server)
    const began = performance.now()
    const endings = await attackAll(port, total, 0)
    const seconds = (performance.now() - began) / 1_000
    await control.close()
    const during = await vitalsOf(server)
    report(endings, control, seconds)
    check('no exit', !exited, `alive after ${seconds.toFixed(1)} s`)
    check(
      `no stall over ${maxStallMs} ms`,
      during.maxOwnDelayMs <= maxStallMs,
      `own ${during.maxOwnDelayMs.toFixed(0)} ms, with a busy machine ${during.maxDelayMs.toFixed(0)} ms`,
    )
    const grown = Math.max(during.heapBytes - before.heapBytes, during.rssBytes - before.rssBytes)
    check(
      'memory growth',
      grown < maxGrowthBytes,
      `heap ${mib(during.heapBytes - before.heapBytes)}, RSS ${mib(during.rssBytes - before.rssBytes)} MiB`,
    )
  } finally {
    server.kill('SIGKILL')
    await postgres.close()
  }
}

function report(endings: readonly Ending[], control: Control, seconds: number): void {
  const codes = countBy(endings, ({ code, echoes }) =>
    code === undefined ? 'left' : `${code}${echoes ? ' (echo)' : ''}`,
  )
  const strange = endings.filter(({ code, echoes }) => code !== undefined && !echoes && !documented.has(code))
  console.log(`  ${endings.length} connections, ${Math.round(total / seconds)} frames/s; ends: ${codes}`)
  console.log(`  HTTP: ${countBy(endings, ({ status }) => String(status))}`)
  check(
    'close codes are documented',
    strange.length === 0,
    `${strange.length} others ${JSON.stringify(strange[0] ?? '')}`,
  )
  const unknown = endings.filter(({ status }) => !statuses.has(status))
  check(
    'HTTP answers are known',
    unknown.length === 0,
    `${unknown.length} others ${unknown[0]?.status ?? ''}`,
  )
  const deep = endings.filter(({ receivedBytes }) => receivedBytes > 400).length
  check('frames came past the first checks', deep > endings.length / 4, `${deep} connections were answered`)
  check(
    'the control connection is undisturbed',
    control.faults.length === 0 && control.exchanges > seconds,
    `${control.exchanges} exchanges, ${control.events} events, slowest ${control.slowestMs.toFixed(0)} ms ${control.faults[0] ?? ''}`,
  )
}

function countBy(items: readonly Ending[], key: (item: Ending) => string): string {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1)
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ')
}

const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1)

await main().catch((error: unknown) => check('the run', false, String(error)))
console.log(`${checked.size - failed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
