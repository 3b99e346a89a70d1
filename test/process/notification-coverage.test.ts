// The measure "rollback notification coverage", as the page gives it, on operations that failed in every way there is.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newOperationId } from '../../src/client/index.ts'
import { Arena } from '../faults/arena.ts'
import { createNodeBundles, type NodeBundles } from '../faults/build-node.ts'
import { commitFaultKinds } from '../faults/commit-faults.ts'
import { startOwnPostgres, type OwnPostgres } from '../support/postgres.ts'

let postgres: OwnPostgres
let bundles: NodeBundles
let arena: Arena

beforeAll(async () => {
  postgres = await startOwnPostgres()
  bundles = await createNodeBundles()
  const bundle = await bundles.build('sources')
  arena = await Arena.open({ bundle, serverUrl: postgres.server.url, database: 'coverage', nodes: 2 })
})
afterAll(async () => {
  await arena.close()
  await bundles.close()
  await postgres.close()
})

/** The query of the section, so that what operators run is what is tested. */
function queryOfPage(): string {
  const page = readFileSync(new URL('../../docs/reference/schema.md', import.meta.url), 'utf8')
  const section = page.slice(page.indexOf('## Rollback notification coverage'))
  const query = /```sql\n([\s\S]*?)```/.exec(section)?.[1]
  if (query === undefined) throw new Error('the page has no query')
  return query
}

interface Coverage {
  readonly rolled_back: string
  readonly notified: string
  readonly coverage: string
}

async function measure(): Promise<{ readonly rolledBack: number; readonly percent: number }> {
  const { rows } = await arena.direct.query<Coverage>(queryOfPage())
  return { rolledBack: Number(rows[0]?.rolled_back), percent: Number(rows[0]?.coverage) }
}

it('is 100 % over errors, lost COMMIT replies, kills and a database crash, and falls when a notice is missing', async () => {
  const caller = await arena.caller('bob')
  const device = await arena.subscriber('bob', [])
  const rooms = ['a', 'b']
  for (const fail of ['throw', 'constraint', 'deferred'] as const) await arena.call(caller, { rooms, fail })
  for (const kind of commitFaultKinds) {
    arena.breakNextCommit({ kind, delayMs: 200 })
    await arena.call(caller, { rooms })
  }
  const killed = newOperationId()
  const call = caller.call(killed, { rooms, holdMs: 60_000 })
  await arena.until('the operation is open', async () => (await arena.stateOf(killed)) === 'started')
  await Promise.all(arena.cluster.slots.map((slot) => arena.cluster.kill(slot)))
  await call

  const crashed = newOperationId()
  const held = caller.call(crashed, { rooms, holdMs: 3_000 })
  await arena.until('the operation is open', async () => (await arena.stateOf(crashed)) === 'started')
  await postgres.server.kill()
  await postgres.server.restart()
  await held
  // An id that was closed unheard has no notice, and needs none: only the client that asked knows of it.
  await device.ask(newOperationId())

  expect(await arena.verdict()).toEqual([])
  const { rolledBack, percent } = await measure()
  expect(percent).toBe(100)
  // Three failures, three COMMITs that did not take effect, and the operation that was killed.
  expect(rolledBack).toBeGreaterThanOrEqual(7)

  await arena.direct.query(
    `delete from lockstep.events where channel = 'user:bob' and "offset" = (
       select max("offset") from lockstep.events where channel = 'user:bob')`,
  )
  expect((await measure()).percent).toBeLessThan(100)
})
