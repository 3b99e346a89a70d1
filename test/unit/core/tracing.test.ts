// Spans as an SDK sees them, and what they cost where there is none.
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
  type ReadableSpan,
  type Sampler,
} from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, test } from 'vitest'
import {
  endSpan,
  markOutcome,
  parseTraceparent,
  recordAcknowledgement,
  recordDelivery,
  startDatabaseSpan,
  startOperationSpan,
  startPublishSpan,
  traceparentOf,
  withSpan,
} from '../../../src/core/index.ts'

const operation = { id: 'o1', name: 'send_message', mode: 'enforce' }
const message = { operationId: 'o1', channel: 'conversation:7', template: 'conversation:{id}', offset: 3 }

function startSdk(sampler?: Sampler): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter()
  const spanProcessors = [new SimpleSpanProcessor(exporter)]
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors, ...(sampler && { sampler }) }))
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  return exporter
}

afterEach(() => {
  trace.disable()
  context.disable()
  propagation.disable()
})

const byName = (spans: readonly ReadableSpan[]): ReadonlyMap<string, ReadableSpan> =>
  new Map(spans.map((span) => [span.name, span]))

test('one trace from the call to the acknowledgement', async () => {
  const exporter = startSdk()
  const span = startOperationSpan(operation)
  await withSpan(span, async () => {
    await Promise.resolve()
    // Starts a span as a driver that traces itself does.
    trace.getTracer('driver').startSpan('INSERT messages').end()
    endSpan(startDatabaseSpan(span, { operation: 'COMMIT', namespace: 'app' }))
  })
  const publish = startPublishSpan(span, { ...message, count: 2 })
  const traceparent = traceparentOf(publish)
  endSpan(publish)
  markOutcome(span, 'committed')
  endSpan(span)
  const now = Date.now()
  recordDelivery({ ...message, traceparent, startedAt: now - 20, endedAt: now - 15 })
  recordAcknowledgement({ ...message, traceparent, startedAt: now - 15, endedAt: now - 5 })

  const spans = byName(exporter.getFinishedSpans())
  const idOf = (name: string): string | undefined => spans.get(name)?.spanContext().spanId
  const traces = new Set([...spans.values()].map((one) => one.spanContext().traceId))
  expect(traces.size).toBe(1)
  expect([...spans.values()].map(({ name, kind, parentSpanContext }) => [name, kind, parentSpanContext?.spanId])).toEqual([
    ['INSERT messages', SpanKind.INTERNAL, idOf('send_message')],
    ['COMMIT app', SpanKind.CLIENT, idOf('send_message')],
    ['publish conversation:{id}', SpanKind.PRODUCER, idOf('send_message')],
    ['send_message', SpanKind.SERVER, undefined],
    ['deliver conversation:{id}', SpanKind.CONSUMER, idOf('publish conversation:{id}')],
    ['acknowledge conversation:{id}', SpanKind.CLIENT, idOf('publish conversation:{id}')],
  ]) // prettier-ignore
  expect(spans.get('send_message')?.attributes).toEqual({
    'lockstep.operation.id': 'o1',
    'lockstep.operation.name': 'send_message',
    'lockstep.mode': 'enforce',
    'lockstep.outcome': 'committed',
  })
  expect(spans.get('COMMIT app')?.attributes).toEqual({
    'db.system.name': 'postgresql',
    'db.operation.name': 'COMMIT',
    'db.namespace': 'app',
  })
  const common = {
    'messaging.system': 'lockstep',
    'messaging.destination.name': 'conversation:7',
    'messaging.destination.template': 'conversation:{id}',
    'messaging.message.conversation_id': 'o1',
    'messaging.message.id': 'conversation:7@3',
  }
  expect(spans.get('publish conversation:{id}')?.attributes).toEqual({
    ...common,
    'messaging.operation.name': 'publish',
    'messaging.operation.type': 'send',
    'messaging.batch.message_count': 2,
  })
  expect(spans.get('deliver conversation:{id}')?.attributes).toEqual({
    ...common,
    'messaging.operation.name': 'deliver',
    'messaging.operation.type': 'process',
  })
  const acknowledged = spans.get('acknowledge conversation:{id}')
  expect(acknowledged?.attributes).toMatchObject({ 'messaging.operation.type': 'settle' })
  expect(acknowledged?.duration).toEqual([0, 10_000_000])
  expect(acknowledged?.parentSpanContext?.isRemote).toBe(true)
})

test('an operation that is called from a span is below it', () => {
  const exporter = startSdk()
  const caller = trace.getTracer('app').startSpan('POST /messages')
  context.with(trace.setSpan(context.active(), caller), () => endSpan(startOperationSpan(operation)))
  const [span] = exporter.getFinishedSpans()
  expect(span?.kind).toBe(SpanKind.INTERNAL)
  expect(span?.parentSpanContext?.spanId).toBe(caller.spanContext().spanId)
})

test('a failure is its code, never its text', () => {
  const exporter = startSdk()
  const span = startOperationSpan(operation)
  markOutcome(span, 'rolled_back')
  endSpan(span, { errorType: 'LS_CONSTRAINT_VIOLATED' })
  const [failed] = exporter.getFinishedSpans()
  expect(failed?.status).toEqual({ code: SpanStatusCode.ERROR })
  expect(failed?.attributes).toMatchObject({
    'error.type': 'LS_CONSTRAINT_VIOLATED',
    'lockstep.outcome': 'rolled_back',
  })
})

test('an acknowledgement estimated before its write has no negative duration', () => {
  const exporter = startSdk()
  const span = startOperationSpan(operation)
  recordAcknowledgement({ ...message, traceparent: traceparentOf(span), startedAt: 2_000, endedAt: 1_000 })
  expect(exporter.getFinishedSpans()[0]?.duration).toEqual([0, 0])
})

test('what is not sampled carries nothing, and nothing follows it', () => {
  const exporter = startSdk(new ParentBasedSampler({ root: new AlwaysOffSampler() }))
  const span = startOperationSpan(operation)
  expect([span, traceparentOf(span)]).toEqual([undefined, undefined])
  expect(startPublishSpan(span, message)).toBe(undefined)
  const unsampled = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`
  recordDelivery({ ...message, traceparent: unsampled, startedAt: 1, endedAt: 2 })
  expect(exporter.getFinishedSpans()).toEqual([])
})

describe('traceparent', () => {
  test('is written as W3C has it, and read back', () => {
    startSdk()
    const span = startOperationSpan(operation)
    const text = traceparentOf(span) ?? ''
    expect(text).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    const { traceId, spanId } = span?.spanContext() ?? {}
    expect(parseTraceparent(text)).toEqual({ traceId, spanId, traceFlags: 1, isRemote: true })
  })

  test.each([
    '',
    'x',
    `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`,
    `00-${'a'.repeat(32)}-${'0'.repeat(16)}-01`,
    `00-${'A'.repeat(32)}-${'b'.repeat(16)}-01`,
    `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01-x`,
    `00-${'a'.repeat(32)}-${'b'.repeat(16)}-1`,
    `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01\n`,
    `00-${'a'.repeat(100_000)}-${'b'.repeat(16)}-01`,
  ])('is not %.60s', (text) => {
    const exporter = startSdk()
    expect(parseTraceparent(text)).toBe(undefined)
    recordDelivery({ ...message, traceparent: text, startedAt: 1, endedAt: 2 })
    expect(exporter.getFinishedSpans()).toEqual([])
  })
})

describe('without an SDK', () => {
  const carried = { ...message, traceparent: undefined, startedAt: 1, endedAt: 2 }
  const oneOperation = (): void => {
    const span = startOperationSpan(operation)
    withSpan(span, () => endSpan(startDatabaseSpan(span, { operation: 'COMMIT' })))
    const publish = startPublishSpan(span, message)
    const traceparent = traceparentOf(publish)
    recordDelivery(traceparent === undefined ? carried : { ...carried, traceparent })
    endSpan(publish)
    endSpan(span)
  }

  test('there is no span', () => {
    expect(startOperationSpan(operation)).toBe(undefined)
    expect(withSpan(undefined, () => 7)).toBe(7)
  })

  test('an operation costs less than 1 µs', () => {
    for (let n = 0; n < 20_000; n++) oneOperation()
    // Measures processor time, and takes the best of some rounds: other work of the machine is not of interest.
    const rounds = Array.from({ length: 10 }, () => {
      const before = process.cpuUsage()
      for (let n = 0; n < 10_000; n++) oneOperation()
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 10_000
    })
    const microseconds = Math.min(...rounds)
    console.log(`tracing without an SDK: ${microseconds.toFixed(3)} µs an operation`)
    expect(microseconds).toBeLessThan(1)
  })

  test('one that is registered later, or taken away, counts from then on', () => {
    oneOperation()
    const exporter = startSdk()
    oneOperation()
    expect(exporter.getFinishedSpans()).toHaveLength(4)
    trace.disable()
    oneOperation()
    expect(exporter.getFinishedSpans()).toHaveLength(4)
  })
})
