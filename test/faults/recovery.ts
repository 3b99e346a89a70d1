// Waits, after the last fault, until every subscriber is at the head and no operation is open; at most as long as I11
// allows.
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import type { Caller } from './caller.ts'
import type { History } from './history.ts'
import type { Subscriber } from './subscriber.ts'

export const recoveryLimitMs = 30_000

export interface RecoveryOptions {
  readonly history: History
  /** Connections past the proxy. */
  readonly direct: pg.Pool
  readonly callers: readonly Caller[]
  readonly subscribers: readonly Pick<Subscriber, 'name' | 'positions'>[]
  readonly limitMs?: number
}

/**
 * Notes how long the recovery took, and what was still missing.
 * @returns the time in milliseconds
 */
export async function awaitRecovery(options: RecoveryOptions): Promise<number> {
  const began = performance.now()
  for (;;) {
    const missing = await stillMissing(options)
    const afterMs = performance.now() - began
    if (missing.length === 0 || afterMs > (options.limitMs ?? recoveryLimitMs)) {
      options.history.add({ kind: 'recovered', afterMs, missing })
      return afterMs
    }
    await pause(100)
  }
}

async function stillMissing({ direct, callers, subscribers }: RecoveryOptions): Promise<readonly string[]> {
  const missing: string[] = []
  for (const caller of callers) {
    if (caller.openCount === 0) continue
    missing.push(
      `${caller.user} waits for ${caller.openCount} outcomes: ${caller.pending.slice(0, 3).join(', ')}`,
    )
  }
  try {
    const open = await direct.query<{ id: string }>(
      `select k.id from lockstep.intents i cross join lateral unnest(i.ids, i.user_ids) as k (id, user_id)
       where not exists (select from lockstep.operations o where o.id = k.id and o.user_id = k.user_id)`,
    )
    if (open.rows.length > 0)
      missing.push(`${open.rows.length} operations are open, ${open.rows[0]?.id} for one`)
    const runs = await direct.query<{ id: string; state: string }>(
      'select id, state from lockstep.runs where ended_at is null',
    )
    if (runs.rows.length > 0)
      missing.push(
        `${runs.rows.length} runs have not ended, ${runs.rows[0]?.id} for one, which is ${runs.rows[0]?.state}`,
      )
    const idle = await direct.query(
      `select pid from pg_stat_activity where datname = current_database() and state = 'idle in transaction'
         and xact_start < now() - interval '2 seconds'`,
    )
    if (idle.rows.length > 0) missing.push(`${idle.rows.length} transactions were left open`)
    const heads = await direct.query<{ channel: string; head: string }>(
      'select channel, head from lockstep.channels',
    )
    const byChannel = new Map(heads.rows.map(({ channel, head }) => [channel, Number(head)]))
    for (const { name, positions } of subscribers) {
      for (const [channel, position] of positions) {
        const head = byChannel.get(channel) ?? 0
        if (position < head)
          missing.push(`${name} stands at ${position} of ${channel}, whose head is ${head}`)
      }
    }
  } catch (error) {
    missing.push(`the database cannot be read: ${String(error)}`)
  }
  return missing
}
