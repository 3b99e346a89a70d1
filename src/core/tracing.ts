import {
  context,
  isSpanContextValid,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Span,
  type SpanContext,
  type Tracer,
} from '@opentelemetry/api'

/** A span that others can be made below; `undefined` wherever nothing is recorded, so that tracing costs a test. */
export type TraceSpan = Span | undefined

const scope = 'lockstep'
/** Provider that the API returns while no SDK is registered. */
const silentProvider = new ProxyTracerProvider().getDelegate()

/** The tracer of the SDK, or undefined when there is none: then no clock is read and nothing is allocated. */
function tracer(): Tracer | undefined {
  const provider = trace.getTracerProvider()
  if (provider instanceof ProxyTracerProvider && provider.getDelegate() === silentProvider) return undefined
  return provider.getTracer(scope)
}

export interface OperationFacts {
  readonly id: string
  readonly name: string
  readonly mode: string
}

/** Begins the span of an operation, below what is active where it is called. */
export function startOperationSpan(operation: OperationFacts): TraceSpan {
  const activeTracer = tracer()
  if (activeTracer === undefined) return undefined
  const { id, name, mode } = operation
  // No user id: traces are read by more people than the data is.
  const attributes = { 'lockstep.operation.id': id, 'lockstep.operation.name': name, 'lockstep.mode': mode }
  // A call that has no caller here came over a socket.
  const kind = trace.getSpan(context.active()) === undefined ? SpanKind.SERVER : SpanKind.INTERNAL
  return recorded(activeTracer.startSpan(name, { kind, attributes }))
}

/** Runs `work` with the span active, so that what traces itself in there, such as the driver, is below it. */
export function withSpan<T>(span: TraceSpan, work: () => T): T {
  return span === undefined ? work() : context.with(trace.setSpan(context.active(), span), work)
}

export interface DatabaseFacts {
  /** `COMMIT`, `ROLLBACK`, or `transaction` for all between BEGIN and its end. */
  readonly operation: string
  /** Name of the database, where it is known. */
  readonly namespace?: string
}

/** Source: OpenTelemetry semantic conventions for PostgreSQL clients, stable since 1.33. */
export function startDatabaseSpan(parent: TraceSpan, { operation, namespace }: DatabaseFacts): TraceSpan {
  if (parent === undefined) return undefined
  return startBelow(
    parent,
    namespace === undefined ? operation : `${operation} ${namespace}`,
    SpanKind.CLIENT,
    {
      'db.system.name': 'postgresql',
      'db.operation.name': operation,
      ...(namespace === undefined ? {} : { 'db.namespace': namespace }),
    },
  )
}

export interface MessageFacts {
  readonly operationId: string
  readonly channel: string
  /** Template such as `conversation:{id}`; names the span, so that there are few names. */
  readonly template?: string
  /** Offset of the last event, where there are several. */
  readonly offset?: number
  /** Events of the operation in this channel. Default 1. */
  readonly count?: number
}

/** Begins the span of handing events to their subscribers; its `traceparentOf` is what they carry. */
export function startPublishSpan(parent: TraceSpan, message: MessageFacts): TraceSpan {
  if (parent === undefined) return undefined
  const attributes = messageAttributes(message, 'publish', 'send')
  return startBelow(parent, nameOf('publish', message), SpanKind.PRODUCER, attributes)
}

export interface CarriedMessage extends MessageFacts {
  /** Context that came with the event. A text that is not a sampled `traceparent` is left alone. */
  readonly traceparent: string | undefined
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Milliseconds since the epoch. */
  readonly endedAt: number
}

/** An event was handed to the sockets of this node. */
export function recordDelivery(message: CarriedMessage): void {
  record(message, 'deliver', 'process', SpanKind.CONSUMER)
}

/** A client has said that it has an event; from the write to the estimated moment there. */
export function recordAcknowledgement(message: CarriedMessage): void {
  record(message, 'acknowledge', 'settle', SpanKind.CLIENT)
}

function record(message: CarriedMessage, name: string, type: string, kind: SpanKind): void {
  if (message.traceparent === undefined) return
  const activeTracer = tracer()
  const parent = activeTracer && parseTraceparent(message.traceparent)
  if (parent === undefined || (parent.traceFlags & TraceFlags.SAMPLED) === 0) return
  activeTracer
    ?.startSpan(
      nameOf(name, message),
      { kind, startTime: new Date(message.startedAt), attributes: messageAttributes(message, name, type) },
      trace.setSpanContext(ROOT_CONTEXT, parent),
    )
    .end(new Date(Math.max(message.startedAt, message.endedAt)))
}

/** Ends a span. An error marks it as failed; its code, and not its text, is kept. */
export function endSpan(span: TraceSpan, failure?: { readonly errorType: string }): void {
  if (span === undefined) return
  if (failure !== undefined) {
    span.setAttribute('error.type', failure.errorType)
    span.setStatus({ code: SpanStatusCode.ERROR })
  }
  span.end()
}

/** Adds how an operation ended. */
export function markOutcome(span: TraceSpan, outcome: 'committed' | 'rolled_back'): void {
  span?.setAttribute('lockstep.outcome', outcome)
}

/** W3C `traceparent` of a span, for what it sends. */
export function traceparentOf(span: TraceSpan): string | undefined {
  if (span === undefined) return undefined
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`
}

const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** @returns undefined for anything that is not a `traceparent` of version 00: it came over a network */
export function parseTraceparent(text: string): SpanContext | undefined {
  const [, traceId, spanId, flags] = traceparentPattern.exec(text) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  const parsed = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(parsed) ? parsed : undefined
}

function startBelow(parent: Span, name: string, kind: SpanKind, attributes: Attributes): TraceSpan {
  const below: Context = trace.setSpan(context.active(), parent)
  return tracer()?.startSpan(name, { kind, attributes }, below)
}

function recorded(span: Span): TraceSpan {
  return span.isRecording() ? span : undefined
}

function nameOf(operation: string, { template, channel }: MessageFacts): string {
  return `${operation} ${template ?? channel}`
}

// Source: OpenTelemetry semantic conventions for messaging, 1.37: `send`, `process` and `settle` are the types for
// what a producer, a push to a consumer and an acknowledgement are; the names are ours.
function messageAttributes(message: MessageFacts, name: string, type: string): Attributes {
  const { channel, template, offset, count = 1, operationId } = message
  return {
    'messaging.system': 'lockstep',
    'messaging.operation.name': name,
    'messaging.operation.type': type,
    'messaging.destination.name': channel,
    'messaging.message.conversation_id': operationId,
    ...(template === undefined ? {} : { 'messaging.destination.template': template }),
    ...(offset === undefined ? {} : { 'messaging.message.id': `${channel}@${offset}` }),
    ...(count === 1 ? {} : { 'messaging.batch.message_count': count }),
  }
}
