import pg from 'pg'
import { CountingAppender } from '../../src/log/index.ts'
import { createNotice } from '../../src/transaction/settle/notice.ts'
import { Settler } from '../../src/transaction/index.ts'
import { fromPool, newOperationId, silentLogger } from '../../src/index.ts'
import { systemClock, type Statement } from '../../src/core/index.ts'
import { readOperations, type OperationKey } from '../../src/postgres/index.ts'
import { query } from '../harness/database.ts'
import { Latencies } from '../harness/histogram.ts'
import { rounded, shown, times, type Cell, type Lane } from '../harness/lane.ts'
import { interleave, medianOf, ratioOf } from '../harness/rounds.ts'

type Variant = 'batched' | 'alone'
type Settle = (key: OperationKey) => Promise<unknown>

interface Turn {
  readonly perSecond: number
  /** How long a question for an outcome took meanwhile, in milliseconds. */
  readonly questionP50: number
  readonly questionMax: number
}

const failures = 500
const askEveryMs = 5

export const settlements: Lane = {
  name: 'settlements',
  about:
    'operations that failed, settled in batches and one by one, and what a question for an outcome waits meanwhile',
  minutes: 2,
  async run(context) {
    const server = await context.postgres()
    const url = await server.createDatabase()
    const pool = new pg.Pool({ connectionString: url, max: 2 })
    const database = fromPool(pool, { acquireTimeoutMs: 60_000 })
    await database.migrate()
    const { own, schema } = database
    const settler = new Settler({
      own,
      schema,
      log: new CountingAppender(own, schema),
      clock: systemClock,
      logger: silentLogger,
      deliver: () => {},
    })
    const settleBy: Readonly<Record<Variant, Settle>> = {
      batched: (key) => settler.settle(key, noticeOf(key)),
      alone: (key) => own.query(settleAlone(key)),
    }
    const turn = async (settle: Settle, users: number): Promise<Turn> => {
      await query(url, (client) =>
        client.query('truncate lockstep.operations, lockstep.events, lockstep.channels'),
      )
      const keys = Array.from({ length: failures }, (_, n) => keyOf(`user${n % users}`))
      const latencies = new Latencies()
      const questions: Promise<void>[] = []
      const ask = async (): Promise<void> => {
        const began = performance.now()
        await own.query(readOperations(schema, 'somebody else', [keys[0]?.id ?? '']))
        latencies.record((performance.now() - began) * 1_000)
      }
      const began = performance.now()
      const settling = Promise.all(keys.map(settle))
      const timer = setInterval(() => questions.push(ask()), askEveryMs)
      questions.push(ask())
      await settling
      const seconds = (performance.now() - began) / 1_000
      clearInterval(timer)
      await Promise.all(questions)
      const { p50, max } = latencies.percentiles
      return { perSecond: failures / seconds, questionP50: p50, questionMax: max }
    }
    const rows: Cell[][] = []
    const figures: Record<string, number> = {}
    for (const users of [1, 200]) {
      for (const settle of Object.values(settleBy)) await turn(settle, users)
      const found = await interleave(['batched', 'alone'], context.rounds, (variant) =>
        turn(settleBy[variant], users),
      )
      const ratio = ratioOf(found.batched, found.alone, ({ perSecond }) => perSecond)
      for (const variant of ['alone', 'batched'] as const) {
        const of = (figure: (turn: Turn) => number): number => shown(medianOf(found[variant], figure))
        rows.push([
          `${users === 1 ? 'one user' : `${users} users`}, ${variant === 'alone' ? 'one by one' : 'batched'}`,
          of(({ perSecond }) => perSecond),
          variant === 'alone' ? '' : times(ratio),
          of(({ questionP50 }) => questionP50),
          of(({ questionMax }) => questionMax),
        ])
      }
      figures[`settlements_ratio_${users}`] = rounded(ratio.median)
    }
    await database.close()
    await pool.end()
    return {
      figures,
      tables: [
        {
          title: `${failures.toLocaleString('en')} operations that failed at once`,
          note: `Over the three own connections of a node; a question for an outcome every ${askEveryMs} ms meanwhile. Medians of rounds.`,
          columns: ['', 'settled a second', 'ratio', 'question: p50 ms', 'max ms'],
          rows,
        },
      ],
    }
  },
}

const keyOf = (userId: string): OperationKey => ({
  id: newOperationId(),
  name: 'send_message',
  userId,
  node: newOperationId(),
  inputHash: 'hash',
})

const noticeOf = ({ id, name }: OperationKey) =>
  createNotice({
    operationId: id,
    operationName: name,
    rollback: {},
    code: 'LS_OPERATION_FAILED',
    affectedLayers: ['database', 'websocket'],
  })

/** Settles one operation alone, as nodes did before there were batches. */
const settleAlone = (key: OperationKey): Statement => ({
  text: `select * from lockstep.settle_operation($1, $2, $3, $4, $5, $6, 'transaction_rolled_back', $7, '1000ms')`,
  values: [
    key.id,
    key.name,
    key.userId,
    key.node,
    key.inputHash,
    `user:${key.userId}`,
    JSON.stringify(noticeOf(key)),
  ],
})
