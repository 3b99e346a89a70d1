// Measures how one transaction that stays open slows the others, for each way to number the events of a channel.
import pg from 'pg'
import { z } from 'zod'
import { createLockstep, fromPool, silentLogger } from '../../src/index.ts'
import { answerBench, childConfig, nowUs, patient } from '../harness/child-host.ts'
import { Latencies } from '../harness/histogram.ts'
import {
  closedLoop,
  countedLoop,
  openLoop,
  type ClosedLoad,
  type CountedLoad,
  type OpenLoad,
} from '../harness/load.ts'

/** `counters`: a row for each channel, counted up at the moment of the emit, as one would write it first. */
export type StallVariant = 'lockstep' | 'counters' | 'centrifugo-stream'

export interface StallerConfig {
  readonly variant: StallVariant
  readonly databaseUrl: string
}

type Query = (text: string, values: unknown[]) => Promise<unknown>
/** Emits to the channels in this order in one transaction, which then stays open for so long. */
type Send = (channels: readonly string[], holdSeconds?: number) => Promise<unknown>

const { variant, databaseUrl } = childConfig() as StallerConfig
const pool = new pg.Pool({ connectionString: databaseUrl, max: 24, pipeline: true })
const data = { text: 'a message' }

function byHand(emit: (query: Query, channel: string) => Promise<unknown>): Send {
  return async (channels, holdSeconds = 0) => {
    const client = await pool.connect()
    const query: Query = (text, values) => client.query(text, values)
    try {
      await client.query('begin')
      await query('insert into messages (channel) values ($1)', [channels[0]])
      for (const channel of channels) await emit(query, channel)
      if (holdSeconds > 0) await query('select pg_sleep($1)', [holdSeconds])
      await client.query('commit')
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  }
}

async function coordinated(): Promise<Send> {
  const lockstep = createLockstep({
    database: fromPool(pool, patient),
    logger: silentLogger,
  })
  const room = lockstep.channel('room:{id}', {
    events: { noted: z.object({ text: z.string() }) },
    canSubscribe: () => true,
  })
  await lockstep.start()
  return (channels, holdSeconds = 0) =>
    lockstep.transaction({ name: 'send_message', user: 'ada' }, async (tx) => {
      await tx.db.query('insert into messages (channel) values ($1)', [channels[0]])
      for (const id of channels) tx.emit(room({ id }), 'noted', data)
      if (holdSeconds > 0) await tx.db.query('select pg_sleep($1)', [holdSeconds])
    })
}

const variants: Readonly<Record<StallVariant, () => Send | Promise<Send>>> = {
  lockstep: coordinated,
  counters: () =>
    byHand((query, channel) =>
      query(
        `with head as (insert into counters as c values ($1, 1)
           on conflict (channel) do update set head = c.head + 1 returning head)
         insert into counted select $1, head, $2 from head`,
        [channel, JSON.stringify(data)],
      ),
    ),
  'centrifugo-stream': () =>
    byHand((query, channel) =>
      query('select cf_stream_publish(p_channel := $1, p_data := $2::jsonb)', [
        `room:${channel}`,
        JSON.stringify(data),
      ]),
    ),
}

const send = await variants[variant]()

answerBench({
  warmUp: (load: CountedLoad) => countedLoop(load, (n) => send([`warm${n % 100}`])),
  hold: ({ channel, seconds }: { readonly channel: string; readonly seconds: number }) =>
    send([channel], seconds),
  open: async ({ channel, ...load }: OpenLoad & { readonly channel: string }) => {
    const latencies = new Latencies()
    await openLoop(load, async (_, intendedUs) => {
      await send([channel])
      latencies.record(nowUs() - intendedUs)
    })
    return latencies.percentiles
  },
  /** Resolves to how many of them failed. */
  opposite: async (load: ClosedLoad) => {
    let failed = 0
    const { perSecond } = await closedLoop(load, async (n) => {
      try {
        await send(n % 2 === 0 ? ['x', 'y'] : ['y', 'x'])
      } catch {
        failed += 1
      }
    })
    return { perSecond, failed }
  },
})
