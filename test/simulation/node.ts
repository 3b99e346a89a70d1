// A node of a simulation: the real parts, wired as src/node/compose.ts wires them, without sockets and monitor.
import { NodeBus } from '../../src/bus/index.ts'
import { EpochWatch, NodeLease } from '../../src/cluster/index.ts'
import { Admission, silentProbe, type Logger } from '../../src/core/index.ts'
import { DraftsPart, DraftWriter, previousDrafts } from '../../src/drafts/index.ts'
import { Deliveries, EventHub } from '../../src/feeds/index.ts'
import { createCountedLog, Retention } from '../../src/log/index.ts'
import { operationPages, trimOperations } from '../../src/postgres/index.ts'
import { Runs, RunsPart } from '../../src/runs/index.ts'
import {
  IntentWriter,
  LateCalls,
  OrphanWatch,
  RollbackEventWriter,
  Settler,
  OutcomeAnswers,
  StoredOutcomes,
  type Part,
  type TransactionCoordinator,
  createCoordinator,
} from '../../src/transaction/index.ts'
import { ModelBus, type ModelBroker } from './model/bus.ts'
import { ModelDatabase, type Leg, type ModelDb } from './model/database.ts'
import type { Host } from './scheduler.ts'
import { shownPart, shownType } from './shown-part.ts'

export const leaseMs = 3_000
/** Time shorter than some subscribers are away. */
const eventRetentionMs = 8_000
const outcomesMs = 7 * 24 * 60 * 60 * 1_000

export interface NodeFacts {
  readonly leg: Leg
  readonly broker: ModelBroker
  readonly logger: Logger
  /** The node has runs. */
  readonly hasRuns: boolean
}

export class SimulatedNode {
  readonly host: Host
  readonly epochs: EpochWatch
  readonly lease: NodeLease
  readonly hub: EventHub
  readonly answers: OutcomeAnswers
  readonly coordinator: TransactionCoordinator<ModelDb>
  readonly runsPart: RunsPart | undefined
  readonly runs: Runs<ModelDb> | undefined
  readonly #database: ModelDatabase
  readonly #deliveries: Deliveries
  readonly #bus: NodeBus
  readonly #orphans: OrphanWatch
  readonly #retention: Retention
  #isReady = false

  constructor({ leg, broker, logger, hasRuns }: NodeFacts) {
    const { host } = leg
    const { clock } = host
    this.host = host
    const database = new ModelDatabase(leg)
    const { own, schema } = database
    const base = { own, schema, clock, logger }
    const probe = silentProbe
    this.#database = database
    this.epochs = new EpochWatch(base)
    this.lease = new NodeLease({ ...base, own: database.lease, epochs: this.epochs, leaseMs })
    const log = createCountedLog(own, schema, this.epochs)
    this.hub = new EventHub({ log: log.read, clock, logger })
    const epoch = (): string => this.epochs.epoch
    const bus = new ModelBus(host, broker)
    this.#bus = new NodeBus({ bus, hub: this.hub, clock, logger, probe })
    this.epochs.onChange(({ to }) => this.#bus.follow(to))
    const deliveries = new Deliveries({ hub: this.hub, publisher: bus, epoch })
    const { deliver, deliverTransient } = deliveries
    this.#deliveries = deliveries
    const { ownConnections } = database
    const rollbackEvents = new RollbackEventWriter({ ...base, inMemory: database.singleSession })
    const settler = new Settler({ ...base, log: log.append, ownConnections, rollbackEvents, deliver })
    const outcomes = new StoredOutcomes({ ...base, log: log.append, retentionMs: outcomesMs })
    this.answers = new OutcomeAnswers(outcomes, settler, clock)
    const late = new LateCalls({ clock, lateAfterMs: 5 * 60 * 1_000 })
    this.runsPart = hasRuns ? new RunsPart(schema) : undefined
    const writer = new DraftWriter({ ...base, push: deliverTransient, mayShow: () => true })
    const drafts = new DraftsPart(schema, writer)
    this.coordinator = createCoordinator({
      database,
      log: log.append,
      parts: [
        shownPart,
        ...(this.runsPart === undefined ? [] : [this.runsPart as Part<unknown>, drafts as Part<unknown>]),
      ],
      rollbackEvents,
      intents: new IntentWriter({ ...base, late }),
      late,
      settler,
      outcomes,
      lease: this.lease,
      rollout: { modeOf: () => 'enforce' },
      admission: new Admission({ clock, slots: database.connections }),
      clock,
      logger,
      probe,
      epoch,
      deliver,
      deliverTransient,
    })
    const part = this.runsPart
    this.runs =
      part &&
      new Runs<ModelDb>({
        ...base,
        lease: this.lease,
        part,
        // The tasks here show nothing.
        drafts: { writer, part: drafts, retract: async () => {}, previous: async () => previousDrafts([]) },
        concurrency: 20,
        epoch,
        deliver,
        push: deliverTransient,
        run: (request) => this.coordinator.run(request),
        recall: (id, claim) => this.coordinator.recall(id, claim),
        earliestArrival: () => this.coordinator.earliestArrival,
        // Clients ask for nothing here.
        authorizeSubscription: () => Promise.reject(new Error('nobody asks')),
      })
    this.epochs.onChange(() => this.runs?.historyChanged())
    this.#orphans = new OrphanWatch({
      ...base,
      settler,
      probe,
      rollbackOf: () => ({}),
      openLeases: () => this.coordinator.openLeases,
    })
    this.#retention = new Retention({
      own,
      clock,
      logger,
      tables: [
        log.trim(eventRetentionMs),
        {
          pages: () => operationPages(schema),
          trim: (page, pages) => trimOperations(schema, { outcomesMs, closedIdsMs: outcomesMs }, page, pages),
        },
      ],
    })
  }

  /** Shows something of an open operation to whoever listens now. */
  show(channel: string, operationId: string, data: string): void {
    const at = new Date(this.host.clock.now())
    this.#deliveries.deliverTransient({ channel, type: shownType, operationId, data, at })
  }

  /** The node takes calls and subscribers. */
  get isReady(): boolean {
    return this.#isReady && this.host.state === 'running'
  }

  /**
   * Starts the parts in the order of the product's own start; tries again until that succeeds, as each use of a node
   * does.
   */
  start(): void {
    this.#start().catch(() => this.host.clock.after(300, () => this.start()))
  }

  async #start(): Promise<void> {
    this.#database.guard(this.epochs)
    await this.lease.start()
    this.hub.start()
    await this.#bus.start(this.epochs.epoch)
    this.#orphans.start()
    this.runs?.start()
    this.#retention.start()
    this.#isReady = true
  }
}
