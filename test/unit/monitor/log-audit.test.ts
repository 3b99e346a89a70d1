import { expect, test } from 'vitest'
import type { LayerReport, Queryable, Statement } from '../../../src/core/index.ts'
import { auditLog } from '../../../src/monitor/measure/log-audit.ts'
import { Watcher } from '../../../src/monitor/measure/watcher.ts'

const id = (n: number): string => `0197a6b0-0000-7000-8000-00000000000${n}`

test('what came by the bus and left the sockets is asked once, and each report has its own verdict', async () => {
  const verdicts: string[] = []
  const note = ({ layer, operationId }: LayerReport, what: string): void => {
    verdicts.push(`${layer} of ${operationId.at(-1)}: ${what}`)
  }
  const watcher = new Watcher({
    port: {
      gap: (report, gapMs) => note(report, `${gapMs} ms`),
      fault: (report, { kind }) => note(report, kind),
      unwatched: () => {},
    },
    databaseClock: { toDatabaseMs: (ms) => ms, errorMs: 0 },
    ticksToAsk: 0,
  })
  const [layers, offsets] = [['bus', 'websocket'] as const, [7, 8]]
  for (const offset of offsets) {
    for (const layer of layers) {
      watcher.reached({ layer, operationId: id(1), at: 105, channel: 'room:1', offset })
      watcher.reached({ layer, operationId: id(2), at: 105, channel: 'room:2', offset })
    }
  }
  const asked: Statement[] = []
  const own: Queryable = {
    async query(statement) {
      asked.push(statement)
      const [ids] = statement.values as [string[]]
      const rows = ids.map((operationId, index) => {
        const isKnown = operationId === id(1)
        return {
          place: index + 1,
          state: isKnown ? 'committed' : null,
          name: isKnown ? 'send' : null,
          user_id: isKnown ? 'ada' : null,
          settled_ms: isKnown ? 100 : null,
          has_event: isKnown,
        }
      })
      return { rows: rows as never[], count: rows.length }
    },
  }
  await auditLog(own, '"lockstep"', watcher)
  expect(asked.map(({ values }) => values)).toEqual([
    [
      [id(1), id(1), id(2), id(2)],
      [null, null, null, null],
      ['room:1', 'room:1', 'room:2', 'room:2'],
      [7, 8, 7, 8],
    ],
  ])
  expect(verdicts.toSorted()).toEqual(
    layers
      .flatMap((layer) => [
        ...offsets.map(() => `${layer} of 1: 5 ms`),
        ...offsets.map(() => `${layer} of 2: transaction_boundary_violation`),
      ])
      .toSorted(),
  )
  expect(watcher.waiting).toBe(0)
})
