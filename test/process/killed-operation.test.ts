// kill -9 of a server in the middle of a transaction: its user is notified, soon, and the operation can never commit.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newOperationId } from '../../src/client/index.ts'
import { Arena } from '../faults/arena.ts'
import { createNodeBundles, type NodeBundles } from '../faults/build-node.ts'
import { noticeType } from '../faults/oracle.ts'
import { startOwnPostgres, type OwnPostgres } from '../support/postgres.ts'

let postgres: OwnPostgres
let bundles: NodeBundles
let bundle: string

beforeAll(async () => {
  postgres = await startOwnPostgres()
  bundles = await createNodeBundles()
  bundle = await bundles.build('sources')
})
afterAll(async () => {
  await bundles.close()
  await postgres.close()
})

const withinMs = 5_000
const mostTries = 3

it.each([
  ['a second node', { nodes: 2, restart: false }],
  ['the restarted one', { nodes: 1, restart: true }],
])(
  'kill -9 in mid-transaction is reported by %s within 5 s, and the same id cannot commit',
  { timeout: 90_000 },
  async (who, cluster) => {
    // A busy machine can only add to the time, so a slow try is repeated. All other checks have to hold in each try.
    const took: number[] = []
    while (took.length < mostTries && !took.some((ms) => ms < withinMs)) {
      took.push(await killAndTell(`${who.replaceAll(' ', '_')}_${took.length}`, cluster))
    }
    expect(Math.min(...took)).toBeLessThan(withinMs)
  },
)

/** Kills the node in mid-transaction, and resolves to the milliseconds from the kill to the notice. */
async function killAndTell(
  database: string,
  cluster: { readonly nodes: number; readonly restart: boolean },
): Promise<number> {
  const arena = await Arena.open({
    bundle,
    serverUrl: postgres.server.url,
    database,
    // The default lease, since the five seconds are a promise of the defaults.
    config: { leaseMs: 3_000 },
    ...cluster,
  })
  try {
    const [victim] = arena.cluster.slots
    if (victim === undefined) throw new Error('a node is needed')
    arena.cluster.prefer(victim)
    const caller = await arena.caller('bob')
    const id = newOperationId()
    const plan = { rooms: ['a'], holdMs: 60_000 }
    const call = caller.call(id, plan)
    await arena.until('the transaction is in its middle', () => isInside(arena))
    expect(await arena.stateOf(id)).toBe('started')

    arena.cluster.prefer(undefined)
    const killedAt = performance.now()
    await victim.node.kill()
    await arena.until('the notice is in the log', async () => (await noticesOf(arena, 'bob')).includes(id))
    const took = performance.now() - killedAt

    // The user is notified by an outcome and by a notice, each once.
    await call
    const told = arena.history.lines.filter((line) => line.kind === 'outcome' || line.kind === 'notice')
    expect(told.map((line) => [line.kind, line.id])).toEqual([
      ['notice', id],
      ['outcome', id],
    ])
    const device = await arena.subscriber('bob', [])
    await device.copy(id, { ...plan, holdMs: 60_000 })
    expect(arena.history.lines.at(-1)).toMatchObject({ kind: 'fail', told: 'rolled_back', copy: true })
    expect((await arena.direct.query('select from effects')).rowCount).toBe(0)
    expect(await arena.verdict({ heal: false })).toEqual([])
    return took
  } finally {
    await arena.close()
  }
}

async function isInside(arena: Arena): Promise<boolean> {
  const { rowCount } = await arena.direct.query(
    `select from pg_stat_activity a where datname = current_database() and state = 'idle in transaction'
       and query like 'insert into effects%'`,
  )
  return rowCount === 1
}

async function noticesOf(arena: Arena, user: string): Promise<readonly string[]> {
  const { rows } = await arena.direct.query<{ operation_id: string }>(
    'select operation_id from lockstep.events where channel = $1 and type = $2',
    [`user:${user}`, noticeType],
  )
  return rows.map((row) => row.operation_id)
}
