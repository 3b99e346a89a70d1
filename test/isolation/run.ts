// The isolation lane: users of several tenants with the same names, each with private markers in all that is theirs. Every byte
// that a user receives is searched for markers of others, over reconnects, revocations and failures.
//   node --import tsx test/isolation/run.ts --deliveries 50000 --seed 1
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, fromPool, newOperationId, silentLogger } from '../../src/index.ts'
import { seeded } from '../faults/random.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { Listener, type Mark } from './listener.ts'

const { values } = parseArgs({
  options: { deliveries: { type: 'string', default: '50000' }, seed: { type: 'string' } },
})
const wanted = Number(values.deliveries)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
const random = seeded(seed)

const secret = 'a secret of the isolation lane, 32 bytes'
const tenants = ['acme', 'globex', 'initech', 'umbrella']
const users = Array.from({ length: 12 }, (_, n) => `user${n}`)
const rooms = Array.from({ length: 6 }, (_, n) => `r${n}`)
const eventsPerCall = 5

/** Users by room who may hear it: two thirds of the tenant's users each. */
const members = new Map<string, Set<string>>()
for (const tenant of tenants) {
  for (const [n, id] of rooms.entries()) {
    members.set(
      `${tenant}:${id}`,
      new Set(users.filter((_, m) => (n + m) % 3 !== 0).map((user) => `${tenant}|${user}`)),
    )
  }
}
const membersOf = (room: string): Set<string> => members.get(room) ?? new Set()

/** Marks begin and end with a word that nothing else holds. */
const mark = (owner: Mark): string => `mark-${owner.tenant}-${owner.room ?? ''}-${owner.user ?? ''}-kram`

const checks: { readonly name: string; readonly holds: boolean; readonly shown: string }[] = []
const check = (name: string, holds: boolean, shown: string): void => {
  checks.push({ name, holds, shown })
  console.log(`  ${holds ? 'ok    ' : 'FAILED'}  ${name}: ${shown}`)
}

async function main(): Promise<void> {
  console.log(`seed ${seed}, ${wanted} deliveries`)
  const postgres = await startOwnPostgres({ durable: false })
  const pool = new pg.Pool({ connectionString: postgres.server.url, max: 10, pipeline: true })
  const lockstep = createLockstep({
    database: fromPool(pool),
    auth: { secret, idsPerTenant: true },
    logger: silentLogger,
  })
  const room = lockstep.channel('tenant:{tenant}:room:{id}', {
    events: { noted: z.object({ mark: z.string(), n: z.number() }) },
    canSubscribe: ({ user, params }) => membersOf(`${params.tenant}:${params.id}`).has(user.id),
  })
  lockstep.operation('note', {
    input: z.object({ room: z.string(), from: z.number(), fail: z.boolean() }),
    rollback: { userMessage: 'Your notes were not saved.' },
    authorize: ({ user, input }) => membersOf(`${user.tenant}:${input.room}`).has(user.id),
    async run({ input, user, tx }) {
      const tenant = user.tenant ?? ''
      for (let n = input.from; n < input.from + eventsPerCall; n += 1) {
        tx.emit(room({ tenant, id: input.room }), 'noted', { mark: mark({ tenant, room: input.room }), n })
      }
      // The text of an internal error may reach no user, the operation's own included.
      if (input.fail) throw new Error(mark({ tenant: 'internal' }))
      return { secret: mark({ tenant, user: user.id }) }
    },
  })
  await lockstep.start()
  const server = createServer(lockstep.handler())
  lockstep.attach(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/lockstep/ws`

  const listeners = tenants.flatMap((tenant) =>
    users.map((user) => new Listener({ url, secret, tenant, user, rooms, membersOf })),
  )
  await Promise.all(listeners.map((listener) => listener.open()))
  const began = performance.now()
  const delivered = (): number => listeners.reduce((sum, { deliveries }) => sum + deliveries, 0)
  let [calls, reconnects, revocations, from] = [0, 0, 0, 0]
  while (delivered() < wanted && performance.now() - began < 50_000) {
    const working: Promise<unknown>[] = []
    for (let n = 0; n < 24; n += 1) {
      const caller = random.pick(listeners)
      from += eventsPerCall
      working.push(
        caller.call('note', newOperationId(), { room: random.pick(rooms), from, fail: random.chance(0.1) }),
      )
      calls += 1
    }
    // Away while others write, and back with recovery.
    const away = [random.pick(listeners), random.pick(listeners)]
    for (const listener of new Set(away)) {
      reconnects += 1
      working.push(listener.reconnect())
    }
    // Asking for what belongs to others: rooms, user channels and outcomes.
    working.push(random.pick(listeners).pry(random.pick(listeners)))
    if (random.chance(0.3)) {
      const target = random.pick(listeners)
      const id = random.pick(rooms)
      if (membersOf(`${target.tenant}:${id}`).delete(target.id)) {
        revocations += 1
        working.push(
          lockstep
            .revoke({ user: target.id, channel: `tenant:${target.tenant}:room:${id}` })
            .then(() => target.revoked(id)),
        )
      }
    }
    await Promise.all(working)
  }
  await Promise.all(listeners.map((listener) => listener.settle()))
  const seconds = (performance.now() - began) / 1_000
  const sum = (of: (listener: Listener) => number): number => listeners.reduce((all, one) => all + of(one), 0)
  const foreign = listeners.flatMap((listener) => listener.foreign)
  const late = listeners.flatMap((listener) => listener.late)
  const recovered = sum(({ recoveries }) => recoveries)
  const refused = sum(({ refusals }) => refusals)
  const notices = sum(({ notices: heard }) => heard)
  console.log(
    `  ${listeners.length} users of ${tenants.length} tenants, ${calls} calls, ${seconds.toFixed(1)} s`,
  )
  check(
    'no foreign mark in any byte',
    foreign.length === 0,
    `${sum(({ bytes }) => bytes)} bytes, ${sum(({ marks }) => marks)} marks ${foreign[0] ?? ''}`,
  )
  check(
    'nothing newer after a revocation',
    late.length === 0 && revocations > 5,
    `${revocations} revocations ${late[0] ?? ''}`,
  )
  check('deliveries', delivered() >= wanted, String(delivered()))
  check(
    'recoveries',
    reconnects > 50 && recovered > reconnects,
    `${reconnects} reconnects, ${recovered} events recovered`,
  )
  check('failures were notified', notices > 50, `${notices} notices`)
  check('what is not theirs was refused', refused > 100, `${refused} refusals`)
  for (const listener of listeners) listener.close()
  await lockstep.close({ drainMs: 500 })
  server.close()
  await pool.end()
  await postgres.close()
}

await main().catch((error: unknown) => check('the run', false, String(error)))
const failed = checks.filter(({ holds }) => !holds).length
console.log(`${checks.length - failed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
