// Settings of a session of PGlite change nothing of what Lockstep reads and writes there for itself.
import { PGlite } from '@electric-sql/pglite'
import { afterAll, expect, it } from 'vitest'
import { z } from 'zod'
import { createLockstep, fromPglite, newOperationId } from '../../../src/index.ts'
import { shadowing } from '../../support/shadowing.ts'
import { centrifuge, connected, Inbox, listen, serve } from '../../support/sockets.ts'
import { createTestLogger, declareRoom, room, secret } from '../../support/world.ts'

const text = 'Grüße – 你好 🎉'
/** Database and test share a clock; a time that was misread is days or hours away. */
const mostClockMs = 60_000

const pglite = await PGlite.create()
await pglite.exec('create table public.notes (id text primary key)')
await pglite.exec(shadowing)
afterAll(() => pglite.close())

it.each([
  ['DateStyle German', `set datestyle = 'German, DMY'`],
  ['DateStyle SQL', `set datestyle = 'SQL, MDY'`],
  ['a TimeZone of its own', `set timezone = '<+05>-05:45'`],
  ['IntervalStyle and bytea_output', `set intervalstyle = sql_standard; set bytea_output = escape`],
  ['extra_float_digits of -15', `set extra_float_digits = -15`],
  ['old strings', `set standard_conforming_strings = off; set backslash_quote = on`],
  ['old nulls', `set array_nulls = off; set transform_null_equals = on`],
  ['serializable transactions by default', `set default_transaction_isolation = serializable`],
  ['a schema that shadows functions, operators and types', `set search_path = app, pg_catalog, public`],
])(
  'on PGlite with %s, events, outcomes, notices, recovery and positions are the same',
  async (_, settings) => {
    await pglite.exec(settings)
    const logger = createTestLogger()
    const database = fromPglite(pglite)
    const lockstep = createLockstep({ database, auth: { secret }, logger })
    declareRoom(lockstep)
    lockstep.operation('add', {
      input: z.object({ id: z.string(), fail: z.boolean() }),
      rollback: { userMessage: 'Not saved – sorry.' },
      async run({ input, tx }) {
        await tx.db.query('insert into public.notes (id) values ($1)', [input.id])
        tx.emit(room({ id: '1' }), 'note.added', { id: input.id, text })
        if (input.fail) throw new Error('after the insert')
        return { text }
      },
    })
    lockstep.query('position', { input: z.object({}), run: ({ position }) => position(room({ id: '1' })) })
    await lockstep.start()
    const served = await serve({ lockstep: lockstep as never })
    const ada = centrifuge(served.url, 'ada')
    const notices = new Inbox<unknown>()
    ada.on('publication', ({ data }) => notices.push(data))
    try {
      await connected(ada)
      const { inbox, subscription } = await listen(ada, 'room:1')
      const add = async (id: string, fail = false) => (await ada.rpc('add', { id, input: { id, fail } })).data
      const [saved, failed] = [newOperationId(), newOperationId()]
      const committed = (await add(saved)) as { positions: Record<string, { offset: number; epoch: string }> }
      expect(committed).toMatchObject({ outcome: 'committed', result: { text } })
      const first = committed.positions['room:1']
      await inbox.until((items) => items.length === 1)
      const { offset, data } = inbox.items[0] ?? {}
      expect({ offset, data }).toMatchObject({ offset: first?.offset, data: { data: { text } } })
      expect(Math.abs(new Date((data as { at: string }).at).getTime() - Date.now())).toBeLessThan(mostClockMs)

      const rolledBack = await add(failed, true)
      expect(rolledBack).toMatchObject({
        outcome: 'rolled_back',
        notice: { userMessage: 'Not saved – sorry.' },
      })
      await notices.until((items) => items.length > 0)
      expect(await add(saved)).toEqual(committed)
      const { data: asked } = await ada.rpc('lockstep.outcomes', { ids: [saved, failed, newOperationId()] })
      expect(asked).toMatchObject({ outcomes: [committed, rolledBack, { outcome: 'never_received' }] })

      const back = new Promise<boolean>((resolve) =>
        subscription.once('subscribed', ({ recovered }) => resolve(recovered)),
      )
      ada.disconnect()
      await lockstep.transaction({ name: 'meanwhile', user: 'bob' }, async (tx) => {
        tx.emit(room({ id: '1' }), 'note.added', { id: 'meanwhile', text })
      })
      ada.connect()
      expect(await back).toBe(true)
      await inbox.until((items) => items.length === 2)
      expect(inbox.items.map((item) => item.offset)).toEqual([first?.offset, (first?.offset ?? 0) + 1])
      expect((await ada.rpc('position', {})).data).toEqual({
        offset: (first?.offset ?? 0) + 1,
        epoch: first?.epoch,
      })
      expect((await lockstep.health.report()).status).toBe('ok')
      const complaints = logger.lines.filter(({ level }) => level === 'warn' || level === 'error')
      expect(complaints.filter(({ message }) => !message.startsWith('an operation failed'))).toEqual([])
    } finally {
      ada.disconnect()
      await lockstep.close({ drainMs: 100 })
      await served.close()
      await pglite.exec('reset all')
    }
  },
)
