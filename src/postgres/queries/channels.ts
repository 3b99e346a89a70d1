import type { Statement } from '../../core/index.ts'

/**
 * Heads of channels, with the epoch they belong to. A channel that never had an event has no row: head 0. Also sent
 * within a user's own transaction, whose search_path may shadow what is not qualified,
 * and over whose connection only texts come in one form.
 */
export function readHeads(schema: string, channels: readonly string[]): Statement {
  return {
    text: `select m.epoch, c.channel, c.head::pg_catalog.text as head from ${schema}.meta m left join ${schema}.channels c
             on c.channel operator(pg_catalog.=) any ($1::pg_catalog.text[])`,
    values: [channels],
  }
}

export interface Heads {
  readonly epoch: string
  readonly heads: ReadonlyMap<string, number>
}

export function toHeads(rows: readonly unknown[]): Heads {
  const raw = rows as readonly { epoch: string; channel: string | null; head: string | null }[]
  const heads = new Map<string, number>()
  for (const row of raw) if (row.channel !== null) heads.set(row.channel, Number(row.head))
  return { epoch: raw[0]?.epoch ?? '', heads }
}
