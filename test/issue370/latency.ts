import { newOperationId } from '../../src/index.ts'
import type { Stage } from './stage.ts'

const warmUp = 30
const pairs = 200

export interface AddedLatency {
  readonly pairs: number
  /** Medians, in milliseconds. */
  readonly plainMs: number
  readonly coordinatedMs: number
  readonly addedMs: number
}

const insert = 'insert into agent_states values ($1, $2, $3)'

/**
 * Measures the same insert in a plain transaction and in a coordinated operation whose event has a subscriber: in
 * pairs, one after the other, so that other work of the machine meets both.
 */
export async function measureAddedLatency(stage: Stage): Promise<AddedLatency> {
  await stage.converse('latency', 'lena')
  const [plain, coordinated]: [number[], number[]] = [[], []]
  for (let n = -warmUp; n < pairs; n += 1) {
    const both = [
      async () => plain.push(await timed(() => plainInsert(stage))),
      async () => coordinated.push(await timed(() => coordinatedInsert(stage))),
    ]
    // The order changes from pair to pair, so that neither of the two profits from going second.
    for (const one of n % 2 === 0 ? both : both.toReversed()) await one()
  }
  for (const times of [plain, coordinated]) times.splice(0, warmUp)
  const added = coordinated.map((ms, n) => ms - (plain[n] ?? 0))
  return { pairs, plainMs: median(plain), coordinatedMs: median(coordinated), addedMs: median(added) }
}

async function plainInsert({ pool }: Stage): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await client.query(insert, [newOperationId(), 'plain', newOperationId()])
    await client.query('commit')
  } finally {
    client.release()
  }
}

async function coordinatedInsert({ lockstep, conversation }: Stage): Promise<void> {
  await lockstep.transaction({ name: 'latency', user: 'lena' }, async (tx) => {
    await tx.db.query(insert, [tx.operationId, 'coordinated', tx.operationId])
    tx.emit(conversation({ id: 'latency' }), 'agent.completed', { run: tx.operationId })
  })
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}
