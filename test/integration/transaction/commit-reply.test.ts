// Replies to COMMIT that never come, or are other ones: the caller, the hooks and the log are told what happened.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { MessageReader, tagOf, textOfParse } from '../../faults/postgres-messages.ts'
import { createFaultProxy, type FaultProxy, type Interceptor, type Link } from '../../faults/proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { centrifuge, connected, Inbox, serve } from '../../support/sockets.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let test: TestDatabase
let proxy: FaultProxy
/** Action on the next link on which a COMMIT is answered, instead of passing the answer on; used once. */
let instead: ((link: Link) => void) | undefined
/** Action on the next link on which a COMMIT is sent, instead of passing it on; used once. */
let insteadOfSending: ((link: Link) => void) | undefined

function intercept(link: Link): Interceptor {
  const reader = new MessageReader('server')
  const sent = new MessageReader('client')
  return {
    up(bytes) {
      const isCommit = sent
        .read(bytes)
        .some(({ type, body }) => type === 'P' && textOfParse(body) === 'commit')
      const act = isCommit ? insteadOfSending : undefined
      if (act === undefined) return link.pass('up', bytes)
      insteadOfSending = undefined
      act(link)
    },
    down(bytes) {
      const isCommit = reader.read(bytes).some(({ type, body }) => type === 'C' && tagOf(body) === 'COMMIT')
      const act = isCommit ? instead : undefined
      if (act === undefined) return link.pass('down', bytes)
      instead = undefined
      act(link)
    },
  }
}

/** Message of some poolers when the server behind them has gone: a FATAL of a class that Postgres has for errors. */
function fatal(): Buffer {
  const fields = Buffer.from('SFATAL\0VFATAL\0CXX000\0Mthe server connection has ended\0\0')
  const header = Buffer.alloc(5)
  header.write('E')
  header.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([header, fields])
}

const world = (): Promise<World> =>
  createWorld({
    databaseUrl: test.url,
    bus: false,
    through(address) {
      const url = new URL(address)
      url.port = String(proxy.port)
      return url.href
    },
  })
const noteOf = (at: World, id: string) => at.rows('select id from notes where id = $1', [id])

beforeAll(async () => {
  test = await createTestDatabase()
  const port = Number(new URL(test.url).port)
  proxy = await createFaultProxy({ target: () => port, intercept })
})
afterAll(async () => {
  await proxy.close()
  await test.drop()
})

it.each<[string, (link: Link) => void]>([
  ['a broken connection', (link) => link.reset('client')],
  [
    'a FATAL of any class',
    (link) => {
      link.pass('down', fatal())
      link.end('down')
    },
  ],
])('%s in its place: it is found to be committed, and the hooks of that run', async (_, fault) => {
  const at = await world()
  const id = newOperationId()
  const ran: string[] = []
  instead = fault
  const answer = at.lockstep.transaction({ name: 'lost', user: 'ada', id }, async (tx) => {
    await tx.db.query('insert into notes values ($1, $1)', [id])
    tx.afterCommit(() => void ran.push('committed'))
    tx.afterRollback(() => void ran.push('rolled back'))
    return 'saved'
  })
  await expect(answer).resolves.toBe('saved')
  expect(instead).toBeUndefined()
  expect(ran).toEqual(['committed'])
  expect(await noteOf(at, id)).toHaveLength(1)
  await at.close()
})

it('a commit that is found out later is shown at once, as the log has it, and not by the next comparison of heads', async () => {
  const at = await createWorld({
    databaseUrl: test.url,
    bus: false,
    headCheckMs: 600_000,
    through(address) {
      const url = new URL(address)
      url.port = String(proxy.port)
      return url.href
    },
  })
  const served = await serve(at)
  const client = await connected(centrifuge(served.url, 'ada'))
  const shown = new Inbox<{ readonly offset?: number; readonly data: unknown }>()
  const subscription = client.newSubscription('room:found')
  subscription.on('publication', shown.push)
  subscription.subscribe()
  await subscription.ready()
  instead = (link) => link.reset('client')
  await at.lockstep.transaction({ name: 'found', user: 'ada' }, async (tx) => {
    tx.emit(room({ id: 'found' }), 'counted', { n: 1 })
    tx.emit(room({ id: 'elsewhere' }), 'counted', { n: 2 })
    tx.emit(room({ id: 'found' }), 'counted', { n: 3 })
  })
  expect(instead).toBeUndefined()
  await expect.poll(() => shown.items.length).toBe(2)
  const publications = shown.items
  const logged = await at.rows<{ offset: string; data: unknown; at: Date }>(
    `select "offset", data, at from lockstep.events where channel = 'room:found' order by "offset"`,
  )
  expect(publications.map(({ offset, data }) => ({ offset, data }))).toMatchObject(
    logged.map((row) => ({ offset: Number(row.offset), data: { data: row.data, at: row.at.toISOString() } })),
  )
  client.disconnect()
  await served.close()
  await at.close()
})

it('a COMMIT that never arrived, while a copy on another node has committed: each runs the hooks of its own ending', async () => {
  const one = await world()
  const two = await createWorld({ databaseUrl: test.url, bus: false })
  const id = newOperationId()
  const ran: string[] = []
  const call = (at: World, by: string) =>
    at.lockstep.transaction({ name: 'copied', user: 'ada', id }, async (tx) => {
      await tx.db.query('insert into notes values (gen_random_uuid(), $1)', [id])
      tx.afterCommit(() => void ran.push(`${by} committed`))
      tx.afterRollback(() => void ran.push(`${by} rolled back`))
      return by
    })
  const second = new Promise<string>((resolve, reject) => {
    insteadOfSending = (link) => {
      const committed = call(two, 'two')
      committed.then(() => link.reset('both')).catch(reject)
      resolve(committed)
    }
  })
  expect(await call(one, 'one')).toBe('two')
  expect(await second).toBe('two')
  expect(ran).toEqual(['two committed', 'one rolled back'])
  await two.close()
  await one.close()
})

it('nothing in its place while the node ends: the caller learns that the outcome is not known', async () => {
  const at = await world()
  const id = newOperationId()
  const lost = new Promise<void>((resolve) => {
    instead = () => {
      proxy.refusing = true
      for (const link of proxy.links) link.reset('client')
      resolve()
    }
  })
  const answer = at.lockstep
    .transaction({ name: 'lost', user: 'ada', id }, (tx) =>
      tx.db.query('insert into notes values ($1, $1)', [id]),
    )
    .catch((error: unknown) => error)
  await lost
  await at.close()
  proxy.refusing = false
  // "Not accepted" would be an invitation to do it again, under another id.
  expect(await answer).toMatchObject({ code: 'LS_OUTCOME_PENDING' })
})
