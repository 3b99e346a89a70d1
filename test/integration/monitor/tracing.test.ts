// Traces of the whole system with the real SDK: from the call to the acknowledgement of a client, over sockets, nodes and a bus.
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base'
import type { PublicationContext } from 'centrifuge'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createClient } from '../../../src/client/index.ts'
import { memoryBus, newOperationId, signToken, type AppOf } from '../../../src/index.ts'
import { centrifuge, connected, listen, serve, type Inbox, type Served } from '../../support/sockets.ts'
import { createWorld, secret, type room, type World, type WorldOptions } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
  trace.disable()
  context.disable()
})

function startSdk(): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter()
  const spanProcessors = [new SimpleSpanProcessor(exporter)]
  if (!trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors })))
    throw new Error('registered')
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  return exporter
}

interface Node {
  readonly world: World
  readonly served: Served
}

async function start(options: WorldOptions = {}): Promise<Node> {
  const world = await createWorld(options)
  opened.push(() => world.close())
  const served = await serve(world)
  opened.push(() => served.close())
  return { world, served }
}

type App = AppOf<[typeof room, World['addNote']]>

/** Opens a client that is connected, and hears the events of the room. */
async function person({ served }: Node, user: string) {
  const client = createClient<App>({
    url: served.url,
    getToken: () => signToken(secret, user, 3_600),
    websocket: WebSocket,
    storage: null,
  })
  opened.push(() => client.close())
  const channel = client.channel('room:1')
  channel.on('*', () => {})
  await channel.ready()
  return client
}

/** Publications of the room as the wire has them. */
async function wire({ served }: Node): Promise<Inbox<PublicationContext>> {
  const client = await connected(centrifuge(served.url, 'wire'))
  opened.push(() => client.disconnect())
  return (await listen(client, 'room:1')).inbox
}

const note = (text: string, fail = false) => ({ room: '1', id: newOperationId(), text, fail })

async function spansOf(exporter: InMemorySpanExporter, names: readonly string[]): Promise<ReadableSpan[]> {
  await eventually(() => {
    expect(
      exporter
        .getFinishedSpans()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(names.toSorted())
  }, 10_000)
  return exporter.getFinishedSpans()
}

const idOf = (span: ReadableSpan): string => span.spanContext().spanId
const tracesOf = (spans: readonly ReadableSpan[]) => new Set(spans.map((span) => span.spanContext().traceId))

function one(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  const found = spans.filter((span) => span.name === name)
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} spans ${name}`)
  return found[0]
}

const milliseconds = ([seconds, nanoseconds]: readonly [number, number]): number =>
  seconds * 1_000 + nanoseconds / 1e6

test('one trace from a client’s call to its acknowledgement', async () => {
  const exporter = startSdk()
  const node = await start()
  const ann = await person(node, 'ann')
  const onWire = await wire(node)
  const call = ann.call('add_note', note('hi'))
  expect(await call.outcome).toMatchObject({ outcome: 'committed' })
  const names = ['add_note', 'COMMIT', 'publish room:{id}', 'deliver room:{id}', 'acknowledge room:{id}']
  const spans = await spansOf(exporter, names)
  const [operation, commit, publish, deliver, acknowledge] = names.map((name) => one(spans, name))
  if (!operation || !commit || !publish || !deliver || !acknowledge) throw new Error('unreachable')
  expect(tracesOf(spans).size).toBe(1)
  expect([operation, commit, publish, deliver, acknowledge].map((span) => [span.kind, span.parentSpanContext?.spanId])).toEqual([
    [SpanKind.SERVER, undefined],
    [SpanKind.CLIENT, idOf(operation)],
    [SpanKind.PRODUCER, idOf(operation)],
    [SpanKind.CONSUMER, idOf(publish)],
    [SpanKind.CLIENT, idOf(publish)],
  ]) // prettier-ignore
  const message = {
    'messaging.destination.name': 'room:1',
    'messaging.destination.template': 'room:{id}',
    'messaging.message.id': 'room:1@1',
    'messaging.message.conversation_id': call.id,
  }
  for (const span of [publish, deliver, acknowledge]) expect(span.attributes).toMatchObject(message)
  expect(operation.attributes).toMatchObject({
    'lockstep.operation.id': call.id,
    'lockstep.mode': 'enforce',
    'lockstep.outcome': 'committed',
  })
  // The COMMIT ends before its events are handed over, and a delivery takes the time from there to the flush.
  expect(milliseconds(commit.endTime)).toBeLessThanOrEqual(milliseconds(publish.startTime))
  expect(milliseconds(deliver.duration)).toBeGreaterThan(0)
  const [publication] = await onWire.until(({ length }) => length === 1)
  const { traceId, spanId } = publish.spanContext()
  expect(publication?.tags).toMatchObject({ traceparent: `00-${traceId}-${spanId}-01` })
  // Attributes are names and ids only, and no text of a user.
  expect(JSON.stringify(spans.map(({ name, attributes, events }) => [name, attributes, events]))).not.toMatch(
    /ann|"hi"/,
  )
})

test('over two nodes and a bus it is still one trace, with a delivery of each node', async () => {
  const exporter = startSdk()
  const name = newOperationId()
  const first = await start({ bus: memoryBus(name) })
  const second = await start({ bus: memoryBus(name), databaseUrl: first.world.url })
  const here = await wire(first)
  await person(second, 'bob')
  const caller = trace.getTracer('app').startSpan('POST /notes')
  await context.with(trace.setSpan(context.active(), caller), () =>
    first.world.addNote.call(note('hi'), { user: 'ann' }),
  )
  caller.end()
  await here.until(({ length }) => length === 1)
  const deliveries = ['deliver room:{id}', 'deliver room:{id}']
  const rest = ['POST /notes', 'add_note', 'COMMIT', 'publish room:{id}', 'acknowledge room:{id}']
  const spans = await spansOf(exporter, [...rest, ...deliveries])
  expect(tracesOf(spans)).toEqual(new Set([caller.spanContext().traceId]))
  const operation = one(spans, 'add_note')
  expect([operation.kind, operation.parentSpanContext?.spanId]).toEqual([
    SpanKind.INTERNAL,
    caller.spanContext().spanId,
  ])
  const publish = idOf(one(spans, 'publish room:{id}'))
  const below = spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === publish)
  expect(below.map((span) => span.name).toSorted()).toEqual(['acknowledge room:{id}', ...deliveries])
  expect(below.every(({ parentSpanContext }) => parentSpanContext?.isRemote)).toBe(true)
})

test('what is read from the log belongs to no trace', async () => {
  const exporter = startSdk()
  const first = await start({ bus: false })
  const second = await start({ bus: false, headCheckMs: 50, databaseUrl: first.world.url })
  const there = await wire(second)
  await first.world.addNote.call(note('hi'), { user: 'ann' })
  const [publication] = await there.until(({ length }) => length === 1)
  expect(publication?.tags).toBe(undefined)
  await spansOf(exporter, ['add_note', 'COMMIT', 'publish room:{id}'])
})

test('a rolled back operation is marked as failed, with its code and without its text', async () => {
  const exporter = startSdk()
  const node = await start()
  const ann = await person(node, 'ann')
  expect(await ann.call('add_note', note('hi', true)).outcome).toMatchObject({ outcome: 'rolled_back' })
  const [span] = await spansOf(exporter, ['add_note'])
  expect(span?.status).toEqual({ code: SpanStatusCode.ERROR })
  expect(span?.attributes).toMatchObject({
    'error.type': 'LS_OPERATION_FAILED',
    'lockstep.outcome': 'rolled_back',
  })
  expect(JSON.stringify([span?.attributes, span?.events])).not.toMatch(/secret detail|10\.0\.0\.1/)
})

test('a span of the application is below the operation it runs in, also behind a statement', async () => {
  const exporter = startSdk()
  const { world } = await start()
  const traced = world.lockstep.operation('traced', {
    input: z.object({}),
    async run({ tx }) {
      await tx.db.query('select 1')
      await trace.getTracer('app').startActiveSpan('price', async (span) => {
        await tx.db.query('select 2')
        trace.getTracer('app').startSpan('tax').end()
        span.end()
      })
    },
  })
  await Promise.all([traced.call({}, { user: 'ann' }), traced.call({}, { user: 'bob' })])
  const spans = await spansOf(
    exporter,
    ['traced', 'price', 'tax', 'COMMIT'].flatMap((name) => [name, name]),
  )
  expect(tracesOf(spans).size).toBe(2)
  for (const traceId of tracesOf(spans)) {
    const those = spans.filter((span) => span.spanContext().traceId === traceId)
    expect(one(those, 'price').parentSpanContext?.spanId).toBe(idOf(one(those, 'traced')))
    expect(one(those, 'tax').parentSpanContext?.spanId).toBe(idOf(one(those, 'price')))
    expect(one(those, 'COMMIT').parentSpanContext?.spanId).toBe(idOf(one(those, 'traced')))
  }
})

test('without an SDK no event carries the context of a trace, and one that is registered later is used', async () => {
  const node = await start()
  const onWire = await wire(node)
  await node.world.addNote.call(note('before'), { user: 'ann' })
  const exporter = startSdk()
  await node.world.addNote.call(note('after'), { user: 'ann' })
  const [before, after] = await onWire.until(({ length }) => length === 2)
  expect(Object.keys(before?.tags ?? {})).not.toContain('traceparent')
  expect(after?.tags?.['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  await spansOf(exporter, ['add_note', 'COMMIT', 'publish room:{id}', 'deliver room:{id}'])
})
