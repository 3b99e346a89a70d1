import { createHash, randomUUID } from 'node:crypto'
import { assertWholeNumbers, detach, disregard, messageOf, aNumber, type Shape } from '../core/index.ts'
import type { StoredEvent } from '../log/index.ts'
import type { TransientEvent } from '../feeds/index.ts'
import type { Bus, BusHealth, BusPort } from './bus.ts'
import { beginningOf, decodeMessage, encodeMessage } from './message.ts'
import { Outbox } from './outbox.ts'
import { BatchSchedule } from './batch-schedule.ts'
import { SelfTest } from './self-test.ts'
import { shardOf, shards } from './shards.ts'
import { SubjectSubscriptions } from './subject-subscriptions.ts'
import type { Transport } from './transport.ts'

export interface BusOptions {
  /**
   * How often the bus sends to itself, and how long that may take to come back, in milliseconds. What is not heard
   * by then counts as an outage. Default 5,000.
   */
  readonly selfTestMs?: number
}

/** Shape of the options, which the constructor checks. */
export const busShape: Shape<BusOptions> = { selfTestMs: aNumber }

/** Time that an attempt to connect is given at least, in milliseconds, however often the bus tests itself. */
const leastConnectMs = 1_000

/** Bus over any transport: sharding, self-test and delivery are the same for all of them. */
export class ShardedBus implements Bus {
  readonly #transport: Transport
  readonly #selfTestMs: number
  readonly #schedule: BatchSchedule | undefined
  readonly #id = randomUUID()
  readonly #ownBeginning = beginningOf(this.#id)
  #started: Started | undefined
  #state: BusHealth['state'] = 'starting'
  #problem: string | undefined
  #connected = false
  #flushing = false
  /** Ends the wait of `start`. */
  #settled: () => void = () => {}
  #cancelWatch: (() => void) | undefined
  #scope: Scope | undefined

  constructor(transport: Transport, options: BusOptions = {}) {
    assertWholeNumbers({ selfTestMs: options.selfTestMs })
    this.#transport = transport
    if (transport.batchInterval !== undefined) this.#schedule = new BatchSchedule(transport.batchInterval)
    this.#selfTestMs = options.selfTestMs ?? 5_000
  }

  get health(): BusHealth {
    const problem = this.#problem === undefined ? {} : { problem: this.#problem }
    return { kind: this.#transport.kind, state: this.#state, ...problem }
  }

  async start(port: BusPort): Promise<void> {
    if (this.#started !== undefined) return
    const transport = this.#transport
    this.#scope = this.#scopeOf(port.scope)
    const selfTest = new SelfTest({
      clock: port.clock,
      intervalMs: this.#selfTestMs,
      send: (round) =>
        transport.send([{ subject: this.#ownSubject, text: encodeMessage(`${this.#id}:${round}`, {}) }]),
      onHeard: () => this.#isUp(),
      onDeaf: () =>
        this.#isDown(`what this node sends to itself does not come back${transport.deafnessHint}`, true),
    })
    const subscriptions = new SubjectSubscriptions({
      transport,
      clock: port.clock,
      logger: port.logger,
      onSubscribed: () => this.#missed(),
    })
    const outbox = new Outbox({
      from: this.#id,
      scope: () => this.#scope?.digest ?? '',
      maxMessageBytes: transport.maxMessageBytes,
      subjectOf: (channel) => this.#subjectOf(channel),
    })
    this.#started = { port, selfTest, subscriptions, outbox }
    const settled = new Promise<void>((resolve) => (this.#settled = resolve))
    this.#watchConnecting(port)
    const opened = transport.open({
      clock: port.clock,
      logger: port.logger,
      hear: (text) => this.#hear(text),
      up: () => {
        if (this.#state === 'closed') return
        this.#connected = true
        this.#cancelWatch?.()
        this.#listenToItself(selfTest)
      },
      down: (problem) => {
        this.#connected = false
        selfTest.stop()
        this.#isDown(problem, false)
        this.#watchConnecting(port)
      },
    })
    disregard(opened.catch((error: unknown) => this.#isDown(messageOf(error), false)))
    await settled
  }

  publish(events: readonly StoredEvent[]): void {
    if (events.length > 0) this.#give((outbox) => outbox.add(events))
  }

  publishTransient(event: TransientEvent): void {
    this.#give((outbox) => outbox.addTransient(event))
  }

  serve(channel: string): void {
    this.#started?.subscriptions.want(this.#subjectOf(channel))
  }

  unserve(channel: string): void {
    this.#started?.subscriptions.unwant(this.#subjectOf(channel))
  }

  follow(scope: string): void {
    const [started, before] = [this.#started, this.#scope]
    if (started === undefined || before === undefined || this.#state === 'closed') return
    const next = this.#scopeOf(scope)
    this.#scope = next
    started.outbox.clear()
    started.subscriptions.rename((subject) => next.subjects[before.subjects.indexOf(subject)] ?? subject)
    disregard(this.#transport.unsubscribe(before.own))
    // The next connection listens to all of it.
    if (this.#transport.isOnDatabase) this.#transport.reconnect('the database has another history')
    else if (this.#connected) this.#listenToItself(started.selfTest)
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#settled()
    this.#cancelWatch?.()
    const started = this.#started
    if (started === undefined) return
    started.selfTest.stop()
    started.subscriptions.close()
    try {
      await this.#transport.close()
    } catch (error) {
      started.port.logger.warn({ error: messageOf(error) }, 'the bus was not closed cleanly')
    }
  }

  get #ownSubject(): string {
    return this.#scope?.own ?? ''
  }

  #subjectOf(channel: string): string {
    return this.#scope?.subjects[shardOf(channel)] ?? ''
  }

  #scopeOf(name: string): Scope {
    // Encode in characters that no broker takes for anything else.
    const digest = createHash('sha256').update(name).digest('hex').slice(0, 16)
    return {
      digest,
      subjects: shards.map((shard) => this.#transport.subjectOf(digest, String(shard))),
      own: this.#transport.subjectOf(digest, this.#id),
    }
  }

  #listenToItself(selfTest: SelfTest): void {
    const subscribed = this.#transport.subscribe(this.#ownSubject)
    disregard(subscribed.catch((error: unknown) => this.#isDown(messageOf(error), true)))
    // Report it at once: a broker that never answers is one that is not heard.
    selfTest.start(subscribed)
  }

  #give(add: (outbox: Outbox) => void): void {
    if (this.#started === undefined || !this.#connected) return
    try {
      add(this.#started.outbox)
      this.#flushSoon(this.#started)
    } catch (error) {
      this.#started.port.logger.error({ error: messageOf(error) }, 'events were not given to the bus')
    }
  }

  #hear(text: string): void {
    const started = this.#started
    // Skip this node's own messages before they are parsed: they are most of the traffic.
    if (started === undefined || this.#state === 'closed' || text.startsWith(this.#ownBeginning)) return
    const message = decodeMessage(text)
    if (message === undefined) {
      started.port.logger.warn(
        { bytes: text.length },
        'the bus brought something that is no message of a node',
      )
      return
    }
    // Drop a message that was on its way when the history was replaced, here or there.
    if (message.scope !== undefined && message.scope !== this.#scope?.digest) return
    if (message.from.startsWith(`${this.#id}:`)) {
      started.selfTest.hear(message.from.slice(this.#id.length + 1))
      return
    }
    try {
      if (message.events.length > 0) started.port.events(message.events)
      if (message.heads.length > 0) started.port.heads(message.heads)
      if (message.transients.length > 0) started.port.transients(message.transients)
    } catch (error) {
      // A socket's callback is the caller here: what it throws would end the process.
      started.port.logger.error({ error: messageOf(error) }, 'what the bus brought could not be delivered')
      this.#missed()
    }
  }

  #isUp(): void {
    if (this.#state === 'closed' || this.#state === 'up') return
    const first = this.#state === 'starting'
    this.#state = 'up'
    this.#problem = undefined
    this.#settled()
    if (!first) this.#started?.port.logger.info({ bus: this.#transport.kind }, 'the bus is up again')
    this.#missed()
  }

  #isDown(problem: string, isDeaf: boolean): void {
    if (this.#state === 'closed') return
    if (this.#state !== 'down' || this.#problem !== problem) {
      this.#started?.port.logger.error(
        { bus: this.#transport.kind, problem },
        'the bus is down: events of other nodes come by the comparison of heads',
      )
    }
    this.#state = 'down'
    this.#problem = problem
    this.#started?.outbox.clear()
    this.#settled()
    if (!isDeaf || !this.#connected) return
    this.#started?.selfTest.start()
    this.#transport.reconnect(problem)
  }

  /**
   * An attempt to connect can hang: the peer accepts and never answers. While there is no connection, the transport is
   * asked for another attempt each time one should have been made.
   */
  #watchConnecting({ clock }: BusPort): void {
    this.#cancelWatch?.()
    if (this.#state === 'closed') return
    this.#cancelWatch = clock.after(Math.max(this.#selfTestMs, leastConnectMs), () => {
      const problem = this.#problem ?? 'no connection was made in time'
      this.#isDown(problem, false)
      this.#transport.reconnect(problem)
      if (this.#started !== undefined) this.#watchConnecting(this.#started.port)
    })
  }

  #missed(): void {
    if (this.#state === 'up') this.#started?.port.missed()
  }

  #flushSoon(started: Started): void {
    if (this.#flushing) return
    this.#flushing = true
    const { clock } = started.port
    const flush = (): void => detach(this.#flush(started), started.port.logger, 'a batch for the bus')
    const waitMs = this.#schedule?.waitMs(clock.monotonic()) ?? 0
    if (waitMs === 0) setImmediate(flush)
    else clock.after(waitMs, flush)
  }

  /** Sends one batch at a time: events that come meanwhile are gathered, and a broker that stalls holds one batch, not all. */
  async #flush(started: Started): Promise<void> {
    const { outbox, port } = started
    try {
      this.#schedule?.left(port.clock.monotonic(), outbox.eventCount)
      if (this.#connected && this.#state !== 'closed') await this.#transport.send(outbox.take())
      else outbox.clear()
    } catch (error) {
      port.logger.warn({ error: messageOf(error) }, 'the bus did not take events')
    }
    this.#flushing = false
    if (!outbox.isEmpty) this.#flushSoon(started)
  }
}

interface Started {
  readonly port: BusPort
  readonly selfTest: SelfTest
  readonly subscriptions: SubjectSubscriptions
  readonly outbox: Outbox
}

/** The names under which the events of one history travel. */
interface Scope {
  readonly digest: string
  /** Subjects by the number of the shard. */
  readonly subjects: readonly string[]
  /** The subject on which this node sends to itself. */
  readonly own: string
}
