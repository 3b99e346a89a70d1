// The application that the health lane measures: an operation that writes a row and shows it to a room, in the modes
// and with the faults asked for.
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import type { AppOf, Lockstep, RolloutOptions, SqlClient } from '../../src/index.ts'

export const secret = 'a secret of the health lane, 32 bytes or more'

export const tables = 'create table if not exists public.notes (id uuid primary key, n integer not null)'

/** `note` is coordinated; the others do what an application without Lockstep does, and are watched. */
export const rollout: RolloutOptions = {
  operations: { note: 'enforce', early: 'observe', untold: 'observe' },
}

const Input = z.object({ room: z.string(), n: z.number(), fail: z.boolean().optional() })
const holdMs = 20

export function defineApplication(lockstep: Lockstep<SqlClient>) {
  const room = lockstep.channel('room:{id}', {
    events: { noted: z.object({ n: z.number() }) },
    canSubscribe: () => true,
  })
  const insert = (db: SqlClient, id: string, n: number) =>
    db.query('insert into public.notes values ($1, $2)', [id, n])
  const rollback = { userMessage: 'Your note was not saved.', recoveryActions: ['retry'] } as const

  const note = lockstep.operation('note', {
    input: Input,
    rollback,
    async run({ input, tx }) {
      await insert(tx.db, tx.operationId, input.n)
      tx.emit(room({ id: input.room }), 'noted', { n: input.n })
      if (input.fail === true) throw new Error('as asked')
    },
  })
  const early = lockstep.operation('early', {
    input: Input,
    rollback,
    async run({ input, tx }) {
      await insert(tx.db, tx.operationId, input.n)
      tx.emit(room({ id: input.room }), 'noted', { n: input.n })
      await pause(holdMs)
    },
  })
  const untold = lockstep.operation('untold', {
    input: Input,
    rollback,
    async run({ input, tx }) {
      await insert(tx.db, tx.operationId, input.n)
      throw new Error('as asked')
    },
  })
  return { room, note, early, untold }
}

export type Application = ReturnType<typeof defineApplication>

export type App = AppOf<Application>
