// A node of a small application with its dashboard open, as a process that a test can kill.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { z } from 'zod'
import { toNodeHandler } from '../../src/gateway/index.ts'
import { createLockstep, fromPool } from '../../src/index.ts'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 8, pipeline: true })
const lockstep = createLockstep({
  database: fromPool(pool),
  auth: { secret: process.env['LOCKSTEP_SECRET'] ?? '' },
  leaseMs: 3_000,
  monitor: { rollupMs: 1_000 },
  dashboard: { authorize: (request) => !request.headers.has('x-stranger') },
})
const conversation = lockstep.channel('conversation:{id}', {
  events: { 'message.created': z.object({ body: z.string() }) },
  canSubscribe: () => true,
})

lockstep.operation('send_message', {
  input: z.object({ body: z.string(), hold: z.boolean().optional(), fail: z.boolean().optional() }),
  rollback: { userMessage: 'Your message was not saved.', recoveryActions: ['retry'] },
  async run({ input, tx }) {
    await tx.db.query('insert into messages values ($1)', [input.body])
    tx.emit(conversation({ id: 'lobby' }), 'message.created', { body: input.body })
    if (input.hold === true) await tx.db.query('select pg_sleep(600)')
    if (input.fail === true) throw new Error('as asked')
    return {}
  },
})

/** The operation emits in the middle of its transaction: in `observe` the event is out before the commit. */
lockstep.operation('import_notes', {
  input: z.object({ holdMs: z.number() }),
  rollback: { userMessage: 'The notes were not imported.' },
  async run({ input, tx }) {
    tx.emit(conversation({ id: 'lobby' }), 'message.created', { body: 'imported' })
    await tx.db.query('select pg_sleep($1)', [input.holdMs / 1_000])
    return {}
  },
})

await pool.query('create table if not exists messages (body text)')
await lockstep.start()
const server = createServer(toNodeHandler(lockstep))
lockstep.attach(server)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.send?.({ port: (server.address() as AddressInfo).port })

process.on('message', (mode: 'observe' | 'enforce') => {
  void lockstep.rollout.set('import_notes', { mode }).then(() => process.send?.({ mode }))
})
process.once('disconnect', () => {
  void lockstep.close({ drainMs: 200 }).finally(() => process.exit(0))
})
