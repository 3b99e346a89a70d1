// The only timeline of a simulation: everything that happens is an entry of its queue, and nothing waits for the
// machine.
import { ManualClock } from '../support/manual-clock.ts'
import type { Clock } from '../../src/core/index.ts'

/** Start of every run, 2026-01-01T00:00:00Z: a run must not depend on the day on which it is made. */
const beginning = Date.UTC(2026, 0, 1)

/** Resolves once all promises and immediates that an entry has set off have run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

export class Scheduler {
  readonly clock = new ManualClock(beginning)
  /** Steps of the simulation, one line each: two runs of a seed have the same lines. */
  readonly trace: string[] = []
  readonly #names = new Map<string, string>()

  get nowMs(): number {
    return this.clock.monotonic()
  }

  after(delayMs: number, work: () => void): () => void {
    return this.clock.after(delayMs, work)
  }

  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(delayMs, resolve))
  }

  /** Notes a step. Ids that are drawn anew in each run are written as names in their order. */
  note(actor: string, what: string): void {
    this.trace.push(`${this.nowMs.toFixed(2).padStart(10)}  ${actor.padEnd(10)}  ${what}`)
  }

  /** Name of a random id, such as `lease-3`. */
  nameOf(kind: string, id: string): string {
    const known = this.#names.get(id)
    if (known !== undefined) return known
    const name = `${kind}-${this.#names.size + 1}`
    this.#names.set(id, name)
    return name
  }

  /** Runs the entries that are due, one by one, until the time has come or `isDone` says so. */
  async runUntil(untilMs: number, isDone: () => boolean = () => false): Promise<void> {
    await settled()
    for (;;) {
      Host.running = undefined
      if (isDone() || !this.clock.stepUntil(untilMs)) return
      await settled()
    }
  }
}

/** A process of the simulation: it can stand still, and it can die at any step. */
export class Host {
  /** Process whose step runs now. */
  static running: Host | undefined
  readonly name: string
  readonly clock: Clock
  readonly #scheduler: Scheduler
  /** Work that arrived while the process was frozen. */
  #held: (() => void)[] = []
  #state: 'running' | 'frozen' | 'dead' = 'running'
  readonly #onDeath: (() => void)[] = []

  constructor(name: string, scheduler: Scheduler) {
    this.name = name
    this.#scheduler = scheduler
    const { clock } = scheduler
    this.clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (delayMs, work) => clock.after(delayMs, () => this.enter(work)),
    }
  }

  get state(): 'running' | 'frozen' | 'dead' {
    return this.#state
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  /** Brings an answer, a message or a timer into the process. */
  enter(work: () => void): void {
    if (this.#state === 'running') {
      Host.running = this
      work()
    } else if (this.#state === 'frozen') this.#held.push(work)
  }

  freeze(forMs: number): void {
    if (this.#state !== 'running') return
    this.#state = 'frozen'
    this.#scheduler.note(this.name, `stands still for ${Math.round(forMs)} ms`)
    this.#scheduler.after(forMs, () => this.thaw())
  }

  thaw(): void {
    if (this.#state !== 'frozen') return
    this.#state = 'running'
    this.#scheduler.note(this.name, `goes on, with ${this.#held.length} things to do`)
    for (const work of this.#held.splice(0)) this.#scheduler.after(0, () => this.enter(work))
  }

  kill(): void {
    if (this.#state === 'dead') return
    this.#state = 'dead'
    this.#held = []
    this.#scheduler.note(this.name, 'dies')
    for (const told of this.#onDeath.splice(0)) told()
  }

  /** Calls back outside the process, for work that waits for it there. */
  onDeath(told: () => void): void {
    if (this.isDead) told()
    else this.#onDeath.push(told)
  }

  /** Resolves as the promise does; rejects when the process dies first. */
  alive<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onDeath(() => reject(new Error(`${this.name} has died`)))
      promise.then(
        (value) => (this.isDead ? undefined : resolve(value)),
        (error: unknown) => (this.isDead ? undefined : reject(error)),
      )
    })
  }
}
