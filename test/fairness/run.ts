// The fairness lane: thousands of sockets and a steady load, beside twenty users who do their worst within the limits.
//   node --import tsx test/fairness/run.ts --sockets 3000 --calm 12 --storm 20
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { createNodeBundles } from '../faults/build-node.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import type { Deeds } from './abusers.ts'
import { Crowd, type Measured } from './crowd.ts'
import { NodeProcess, type NodeState } from './node-process.ts'

const { values } = parseArgs({
  options: {
    sockets: { type: 'string', default: '3000' },
    calm: { type: 'string', default: '12' },
    storm: { type: 'string', default: '20' },
  },
})
const sockets = Number(values.sockets)
const [calmMs, stormMs] = [Number(values.calm) * 1_000, Number(values.storm) * 1_000]
const callsPerSecond = 200
/** Of their calm p99. */
const mostTimesSlower = 5
const nodeCount = 2

const checks: boolean[] = []
const check = (name: string, holds: boolean, shown: string): void => {
  checks.push(holds)
  console.log(`  ${holds ? 'ok    ' : 'FAILED'}  ${name}: ${shown}`)
}
const shownOf = ({ calls, p50, p99, max, others }: Measured): string =>
  `${calls} calls, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${max.toFixed(0)} ms` +
  [...others].map(([answer, count]) => `, ${count} × ${answer}`).join('')

async function main(): Promise<void> {
  const postgres = await startOwnPostgres()
  const db = new pg.Pool({ connectionString: postgres.server.url, max: 2 })
  await db.query('create table sends (usr text not null, room text not null, n int not null)')
  const bundles = await createNodeBundles('test/fairness/node.ts')
  const bundle = await bundles.build('plain')
  const secret = randomBytes(32).toString('base64url')
  const env = { FAIRNESS_DATABASE_URL: postgres.server.url, FAIRNESS_SECRET: secret }
  const nodes: NodeProcess[] = []
  for (let n = 0; n < nodeCount; n += 1) nodes.push(await NodeProcess.start(bundle, env))
  const states = (): Promise<NodeState[]> => Promise.all(nodes.map((node) => node.state()))
  const ports = nodes.map(({ port }) => port)
  const crowd = await Crowd.open({
    ports,
    secret,
    sockets,
    users: Math.ceil(sockets / 5),
    rooms: Math.ceil(sockets / 10),
  })
  const before = await states()

  const leases = new Set(before.map(({ node }) => node))
  const heldLeases = async (): Promise<boolean> => {
    const { rows } = await db.query<{ node: string }>(
      'select node from lockstep.nodes where lease_until >= clock_timestamp()',
    )
    return rows.length === nodeCount && rows.every(({ node }) => leases.has(node))
  }
  let looks = 0
  let lost = 0
  const look = async (): Promise<void> => {
    const held = await heldLeases()
    looks += 1
    if (!held) lost += 1
  }
  const watch = setInterval(() => void look(), 250)

  // What the processes compile at first is not the calm.
  await crowd.call(callsPerSecond, calmMs / 4)
  const calm = await crowd.call(callsPerSecond, calmMs)
  console.log(`  calm   ${shownOf(calm)}`)
  const abusers = fork(new URL('./abusers.ts', import.meta.url), [], {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, ...env, FAIRNESS_PORTS: ports.join(',') },
  })
  const storm = await crowd.call(callsPerSecond, stormMs)
  console.log(`  storm  ${shownOf(storm)}`)
  const during = await states()
  const deeds = await new Promise<Deeds>((resolve) => {
    abusers.once('message', resolve)
    abusers.send('end')
  })
  abusers.kill('SIGKILL')
  clearInterval(watch)

  check('other users’ operations are accepted', storm.others.size === 0, shownOf(storm))
  check(
    `their p99 stays within ${mostTimesSlower} × of the calm one`,
    storm.p99 <= mostTimesSlower * calm.p99,
    `${(storm.p99 / calm.p99).toFixed(2)} ×`,
  )
  check('no socket of theirs was closed', crowd.closed === 0, `${crowd.closed} of ${sockets}`)
  check(
    'no node lost its lease',
    lost === 0 && (await heldLeases()) && looks > stormMs / 1_000,
    `${looks} looks, ${lost} without it`,
  )
  const megabytes = during.map(({ rss }) => Math.round(rss / 1e6))
  check(
    'memory stays bounded',
    megabytes.every((each) => each < 900),
    `${megabytes.join(', ')} MB`,
  )
  check(
    'the storm was one',
    deeds.calls > 500 &&
      deeds.slow >= 10 &&
      deeds.failures > 100 &&
      deeds.questions > 10 &&
      deeds.subscribes > 500 &&
      deeds.closed > 100 &&
      deeds.refused > 100,
    JSON.stringify(deeds),
  )
  // What the abusers had open ends.
  const deadline = performance.now() + 30_000
  let after = await states()
  while (after.some(({ openOperations }) => openOperations > 0) && performance.now() < deadline) {
    await sleep(250)
    after = await states()
  }
  check(
    'nothing stays open',
    after.every(({ openOperations }) => openOperations === 0),
    after.map(({ openOperations }) => openOperations).join(', '),
  )
  const { rows: untold } = await db.query<{ count: number }>(
    `select count(*)::int as count from lockstep.operations o
     where o.state = 'rolled_back' and o.name <> '' and not exists (
       select from lockstep.events e where e.channel = 'user:' || o.user_id and e.operation_id = o.id)`,
  )
  check('every rollback was told', untold[0]?.count === 0, `${untold[0]?.count} without a notice`)

  crowd.close()
  for (const node of nodes) node.kill()
  await db.end()
  await bundles.close()
  await postgres.close()
}

await main()
const failed = checks.filter((holds) => !holds).length
console.log(`${checks.length - failed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
