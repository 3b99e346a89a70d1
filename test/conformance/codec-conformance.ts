// Rules of every wire format over the feeds, which know none: order, recovery, hidden entries, one encoding for all.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../src/core/index.ts'
import { EventHub, type FeedEvent } from '../../src/feeds/index.ts'
import { formOf, type EventCodec } from '../../src/gateway/wire/codec.ts'
import { createCountedLog, type StoredEvent } from '../../src/log/index.ts'
import { UnwatchedHistory } from '../../src/log/log-history.ts'
import { fromPool, type PendingEvent } from '../../src/postgres/index.ts'
import { touchedEvent } from '../../src/protocol/index.ts'
import type { DecodedEvent } from '../support/binary-codec.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { keyOf } from '../support/settlements.ts'
import { Inbox } from '../support/sockets.ts'
import { createTestLogger } from '../support/world.ts'

/** @param decode reads one frame, as a client of the format does */
export function describeCodec<Form extends string | Buffer>(
  codec: EventCodec<Form>,
  decode: (frame: Buffer) => DecodedEvent,
): void {
  describe(`the codec ${codec.name}`, () => {
    let test: TestDatabase
    let pool: pg.Pool
    let database: ReturnType<typeof fromPool>
    beforeAll(async () => {
      test = await createTestDatabase()
      pool = new pg.Pool({ connectionString: test.url, max: 4 })
      database = fromPool(pool)
    })
    afterAll(async () => {
      await database.close()
      await pool.end()
      await test.drop()
    })

    /** Serves a hub over real sockets: each connection joins the channel of its path, and gets frames of the codec. */
    async function serve() {
      const log = createCountedLog(database.own, database.schema, new UnwatchedHistory())
      const hub = new EventHub({ log: log.read, clock: systemClock, logger: createTestLogger() })
      let encoded = 0
      const counting: EventCodec<Form> = {
        name: codec.name,
        encode: (event) => {
          encoded += 1
          return codec.encode(event)
        },
      }
      const server = createServer()
      const sockets = new WebSocketServer({ server })
      sockets.on('connection', (socket, request) => {
        const { pathname, searchParams } = new URL(request.url ?? '', 'ws://localhost')
        const send = (events: readonly FeedEvent[]) => {
          for (const event of events) socket.send(formOf(counting, event))
        }
        const from = searchParams.get('from')
        const recoverFrom = from === null ? {} : { recoverFrom: { offset: Number(from), epoch: '' } }
        const subscriber = { deliver: send, deliverTransient: () => {}, reset: () => socket.close() }
        void hub.join(decodeURIComponent(pathname.slice(1)), recoverFrom, subscriber).then((joined) => {
          send(joined.missed)
          joined.start()
          socket.send('ready')
          return joined
        })
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const open = async (channel: string, from?: number) => {
        const inbox = new Inbox<DecodedEvent>()
        const query = from === undefined ? '' : `?from=${from}`
        const socket = new WebSocket(`ws://127.0.0.1:${port}/${encodeURIComponent(channel)}${query}`)
        const ready = new Promise<void>((resolve) => {
          socket.on('message', (frame: Buffer) => {
            if (frame.toString() === 'ready') resolve()
            else inbox.push(decode(frame))
          })
        })
        await ready
        return { inbox, socket }
      }
      const commit = async (...events: readonly PendingEvent[]): Promise<readonly StoredEvent[]> => {
        const key = keyOf('ada')
        const transaction = await database.begin({ operationId: key.id })
        const append = log.append.flush(key, null, events)
        const ended = await transaction.commit([append.statement])
        if (ended.ending !== 'committed') throw new Error(ended.ending)
        return (await append.landed(ended.flushed[0]?.rows[0])).events
      }
      const close = async (): Promise<void> => {
        for (const client of sockets.clients) client.terminate()
        await new Promise((resolve) => server.close(resolve))
      }
      return { hub, open, commit, close, encodings: () => encoded }
    }
    const noted = (channel: string, data: unknown): PendingEvent => ({
      channel,
      type: 'noted',
      data: JSON.stringify(data),
    })
    const shown = ({ channel, offset, operationId, at, type, data }: StoredEvent) => ({
      channel,
      offset,
      operationId,
      at: at.getTime(),
      type,
      data: JSON.parse(data) as unknown,
    })

    it('takes events to all subscribers in order, encoded once for all of them', async () => {
      const [at, channel] = [await serve(), `room:${randomUUID()}`]
      const clients = await Promise.all([at.open(channel), at.open(channel), at.open(channel)])
      const texts = [{ n: 1 }, 'ü "\\ \u2028', [null, true, 1.5]]
      const events = await at.commit(...texts.map((text) => noted(channel, text)))
      for (const index of [2, 0, 1]) at.hub.deliver(events.slice(index, index + 1))
      for (const { inbox } of clients) {
        expect(await inbox.until((items) => items.length >= 3)).toMatchObject(events.map(shown))
      }
      expect(at.encodings()).toBe(3)
      await at.close()
    })

    it('recovers what was missed in the same form, and says how many entries nobody is shown', async () => {
      const [at, channel] = [await serve(), `room:${randomUUID()}`]
      const events = [
        ...(await at.commit(noted(channel, 1))),
        ...(await at.commit({ ...noted(channel, null), type: touchedEvent })),
        ...(await at.commit(noted(channel, 2))),
      ]
      const { inbox } = await at.open(channel, 0)
      const heard = await inbox.until((items) => items.length >= 2)
      expect(heard).toMatchObject([events[0], events[2]].map((event) => event && shown(event)))
      expect(heard.map(({ skipped }) => skipped)).toEqual([0, 1])
      const [next] = await at.commit(noted(channel, 3))
      if (next !== undefined) at.hub.deliver([next])
      expect((await inbox.until((items) => items.length >= 3)).at(-1)).toMatchObject({
        offset: 4,
        skipped: 0,
      })
      await at.close()
    })
  })
}
