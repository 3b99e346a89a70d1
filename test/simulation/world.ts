// A simulation: nodes of the real parts over a modelled database and bus, callers, subscribers and faults, all from one
// seed.
import { setFaultHook } from '../../src/core/fault-point.ts'
import { silentLogger, userChannel } from '../../src/core/index.ts'
import { seeded, type Random } from '../faults/random.ts'
import { Calls, rooms, users } from './calls.ts'
import { ModelBroker } from './model/bus.ts'
import { ModelServer } from './model/server.ts'
import { Jobs } from './jobs.ts'
import { leaseMs, SimulatedNode } from './node.ts'
import { Host, Scheduler } from './scheduler.ts'
import { SimulatedSubscriber } from './subscriber.ts'
import { Verdict, type Violation } from './verdict.ts'
import { Weather } from './weather.ts'

/** Time during which faults are made, in simulated milliseconds. */
const stormMs = 16_000
/**
 * Time after the last fault within which all is quiet again: nodes ready, callers told, subscribers at the heads of
 * their channels.
 */
const recoveryMs = 40_000
const nodeNames = ['north', 'east', 'west']

const noCounts = {
  committed: 0,
  notCommitted: 0,
  deliveries: 0,
  fresh: 0,
  recovered: 0,
  unrecoverable: 0,
  deaths: 0,
  freezes: 0,
  failovers: 0,
  outages: 0,
  busOutages: 0,
  steps: 0,
  runs: 0,
  runSteps: 0,
  stops: 0,
  takeovers: 0,
}

export type Counts = typeof noCounts

export interface SimulationResult {
  readonly trace: readonly string[]
  readonly violations: readonly Violation[]
  readonly counts: Readonly<Counts>
}

export class World {
  readonly scheduler = new Scheduler()
  readonly verdict = new Verdict(() => this.scheduler.nowMs)
  readonly random: Random
  readonly weather: Weather
  readonly server: ModelServer
  readonly broker: ModelBroker
  readonly calls = new Calls(this)
  /** Set where the world has runs of tasks instead of calls. */
  readonly jobs: Jobs | undefined
  readonly counts: Counts = { ...noCounts }
  isCalm = false
  readonly #nodes = new Map<string, SimulatedNode>()
  readonly #subscribers: SimulatedSubscriber[] = []
  readonly #faults: Random
  #lives = 0
  #failedOverAt = -Infinity

  constructor(seed: number, hasRuns: boolean) {
    this.random = seeded(seed)
    this.#faults = this.random.fork('faults')
    this.weather = new Weather(this.random.fork('weather'))
    this.server = new ModelServer(this.scheduler, this.verdict)
    this.broker = new ModelBroker(this.scheduler, this.weather)
    this.jobs = hasRuns ? new Jobs(this) : undefined
  }

  async run(): Promise<void> {
    setFaultHook(() => this.#perhapsDie())
    try {
      for (const name of nodeNames) this.#startNode(name)
      for (const channel of [...rooms.map(({ name }) => name), ...users.map(userChannel)])
        for (const place of [1, 2]) this.#subscribe(`${channel}/${place}`, channel)
      this.#callLater()
      this.#failLater()
      this.#watchLeases()
      await this.scheduler.runUntil(stormMs)
      this.#calm()
      let isDone = false
      const look = (): void => {
        isDone = this.#open().length === 0
        if (!isDone) this.scheduler.after(500, look)
      }
      this.scheduler.after(1_000, look)
      await this.scheduler.runUntil(stormMs + recoveryMs, () => isDone)
      for (const what of this.#open()) this.verdict.broken('quiet', what)
      this.calls.check()
      this.jobs?.check()
    } finally {
      setFaultHook(undefined)
    }
  }

  /** A node that takes calls and subscribers. */
  pickNode(): SimulatedNode | undefined {
    const ready = [...this.#nodes.values()].filter(({ isReady }) => isReady)
    return ready.length === 0 ? undefined : this.random.pick(ready)
  }

  /** Runs work in a node's process, asked for from outside. */
  inside(node: SimulatedNode, work: () => unknown): void {
    node.host.enter(() => void work())
  }

  #subscribe(name: string, channel: string): void {
    const subscriber = new SimulatedSubscriber(name, channel, this)
    this.#subscribers.push(subscriber)
    this.scheduler.after(this.random.between(0, 3_000), () => subscriber.connect())
  }

  #startNode(name: string): void {
    this.#lives += 1
    const host = new Host(`${name}.${this.#lives}`, this.scheduler)
    const leg = { host, server: this.server, weather: this.weather }
    const node = new SimulatedNode({
      leg,
      broker: this.broker,
      logger: silentLogger,
      hasRuns: this.jobs !== undefined,
    })
    const { jobs } = this
    if (jobs !== undefined) node.runs?.declare(jobs.taskOf(node))
    this.#nodes.set(name, node)
    host.onDeath(() => {
      this.counts.deaths += 1
      this.scheduler.after(this.#faults.between(100, 4_500), () => this.#startNode(name))
    })
    this.scheduler.note(host.name, 'starts')
    node.host.enter(() => node.start())
  }

  #callLater(): void {
    this.scheduler.after(this.random.between(20, 500), () => {
      if (this.isCalm) return
      if (this.jobs === undefined) this.calls.begin()
      else this.jobs.begin()
      this.#callLater()
    })
  }

  #failLater(): void {
    this.scheduler.after(this.#faults.between(200, 1_800), () => {
      if (this.isCalm) return
      this.#fail()
      this.#failLater()
    })
  }

  #fail(): void {
    const { server, scheduler, broker, counts } = this
    const faults = this.#faults
    const node = faults.pick([...this.#nodes.values()])
    const kind = faults.pick([
      'kill',
      'kill',
      'freeze',
      'freeze',
      'outage',
      'failover',
      'bus',
      'bus',
    ] as const)
    if (kind === 'kill') node.host.kill()
    else if (kind === 'freeze' && node.host.state === 'running') {
      counts.freezes += 1
      node.host.freeze(faults.chance(0.5) ? faults.between(leaseMs, 8_000) : faults.between(50, 2_000))
    } else if (kind === 'outage' && !server.isDown) {
      counts.outages += 1
      server.isDown = true
      scheduler.note('database', 'is away')
      scheduler.after(faults.between(100, 3_000), () => this.#databaseBack())
    } else if (kind === 'failover' && faults.chance(0.8)) {
      const replica = server.snapshot()
      scheduler.after(faults.between(0, 800), () => {
        if (this.isCalm) return
        counts.failovers += 1
        this.#failedOverAt = scheduler.nowMs
        server.promote(replica)
      })
    } else if (kind === 'bus' && !broker.isDown) {
      counts.busOutages += 1
      broker.isDown = true
      scheduler.note('bus', 'is away')
      scheduler.after(faults.between(200, 5_000), () => broker.comeBack(faults.chance(0.6)))
    }
  }

  #databaseBack(): void {
    if (!this.server.isDown) return
    this.server.isDown = false
    this.scheduler.note('database', 'is back')
  }

  /** Kills the running process now and then, at a fault point that it passes. */
  #perhapsDie(): void | Promise<void> {
    const host = Host.running
    if (host === undefined || host.isDead || this.isCalm || !this.#faults.chance(0.003)) return undefined
    host.kill()
    return new Promise(() => {})
  }

  #calm(): void {
    this.scheduler.note('world', 'calms down')
    this.isCalm = true
    this.weather.isCalm = true
    this.#databaseBack()
    if (this.broker.isDown) this.broker.comeBack(false)
    for (const { host } of this.#nodes.values()) host.thaw()
  }

  /** Watches that no lease is taken for dead while its node takes it for held. */
  #watchLeases(): void {
    for (const { host, lease } of this.#nodes.values()) {
      // A replica has older leases; nodes find out within a renewal.
      const isSame = this.scheduler.nowMs - this.#failedOverAt > 2 * leaseMs
      if (!isSame || host.state !== 'running' || lease.state !== 'held') continue
      if (this.server.isDead(lease.node))
        this.verdict.broken('lease', `${host.name} holds a lease that is dead`)
    }
    this.scheduler.after(50, () => this.#watchLeases())
  }

  /** Lists the differences from a quiet world: nodes, callers, subscribers and rows that have not come to rest. */
  #open(): readonly string[] {
    const { server, scheduler } = this
    const open: string[] = []
    for (const { name, channel, position, isListening } of this.#subscribers) {
      const head = server.headOf(channel)
      if (!isListening) open.push(`${name} does not listen`)
      else if (position?.epoch !== server.state.epoch || position.offset !== head)
        open.push(`${name} stands at ${position?.offset}, and the head is ${head}`)
    }
    for (const [name, { coordinator, lease, isReady }] of this.#nodes) {
      if (!isReady || lease.state !== 'held') open.push(`${name} takes no work`)
      else if (coordinator.openCount > 0) open.push(`${name} has ${coordinator.openCount} operations open`)
    }
    for (const { node, operations } of server.state.intents.values()) {
      for (const { id, userId, name } of operations)
        if (server.outcomeOf(id, userId) === undefined)
          open.push(`${name} of ${scheduler.nameOf('lease', node)} has no outcome`)
    }
    open.push(...(this.jobs?.open ?? []))
    if (!this.calls.areTold) open.push('a caller does not know how a call ended')
    return open
  }
}

/** Runs a seed. The same seed gives the same trace. */
export async function simulate(seed: number, hasRuns = false): Promise<SimulationResult> {
  const world = new World(seed, hasRuns)
  const { random } = Math
  const unhandled = (error: unknown): void =>
    world.verdict.broken('alive', error instanceof Error ? (error.stack ?? error.message) : String(error))
  const chances = seeded(seed).fork('Math.random')
  Math.random = () => chances.next()
  process.on('unhandledRejection', unhandled)
  try {
    await world.run()
  } finally {
    Math.random = random
    process.off('unhandledRejection', unhandled)
  }
  const { trace, clock } = world.scheduler
  return { trace, violations: world.verdict.violations, counts: { ...world.counts, steps: clock.firedCount } }
}
