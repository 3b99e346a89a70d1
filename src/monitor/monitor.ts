import { randomUUID } from 'node:crypto'
import { messageOf, Repeat, silentProbe, waitAtMost, type Probe } from '../core/index.ts'
import { ClusterAlert } from './alert/cluster-alert.ts'
import { ChannelRates } from './measure/channel-rates.ts'
import type { DashboardData, Gaps, MonitorLevel, Score } from './model/dashboard-data.ts'
import { readDashboard } from './dashboard.ts'
import { History } from './store/history.ts'
import type { Violation } from './model/kinds.ts'
import { auditLog } from './measure/log-audit.ts'
import { NoticeSweep } from './measure/notice-sweep.ts'
import type { HealthSummary } from './model/health-summary.ts'
import { toSettings, toWindow, type HealthMonitorOptions, type MonitorSettings } from './monitor-options.ts'
import { Outage } from './outage.ts'
import { Recorder } from './recorder.ts'
import { createReportProbe } from './report-probe.ts'
import { KeptGaps } from './store/kept-gaps.ts'
import { RecentViolations } from './store/recent-violations.ts'
import { RollUpStore } from './store/roll-up-store.ts'
import { isInSample } from './measure/sample.ts'
import { Schedule } from './schedule.ts'
import { ViolationQueue } from './store/violation-queue.ts'
import { Watcher } from './measure/watcher.ts'

const freshMs = 1_000

/**
 * Measures how far the layers drift from the commit. The rooms report to `probe`; a watcher puts the reports beside
 * what the log says; roll-ups in the database let every node answer for all. Without the database it goes on in
 * memory, within bounds, and nothing it does reaches those who report as an error.
 */
export class HealthMonitor {
  readonly probe: Probe
  readonly #options: HealthMonitorOptions
  readonly #settings: MonitorSettings
  readonly #recorder: Recorder
  readonly #watcher: Watcher
  readonly #violations: ViolationQueue
  readonly #history: History
  readonly #store: RollUpStore
  readonly #sweep: NoticeSweep
  readonly #clusterAlert: ClusterAlert
  readonly #outage: Outage
  readonly #rates = new ChannelRates()
  readonly #due: Schedule
  readonly #recent: RecentViolations
  readonly #gaps: KeptGaps
  #isLoaded = false
  #readAtMs = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | undefined
  #working: Promise<void> = Promise.resolve()
  #isWorking = false
  readonly #ticks: Repeat
  #isClosed = false

  constructor(options: HealthMonitorOptions) {
    const { own, schema, clock, logger, databaseClock } = options
    this.#options = options
    this.#settings = toSettings(options)
    const { level, sampleRate, thresholds, windowMinutes, alertBelow, recoverAbove } = this.#settings
    this.#recent = new RecentViolations(own, schema)
    this.#gaps = new KeptGaps(clock)
    this.#violations = new ViolationQueue({ own, schema, onStored: (violation) => this.#onStored(violation) })
    const isSampled = (operationId: string): boolean =>
      level !== 'sampled' || isInSample(operationId, sampleRate)
    this.#recorder = new Recorder({
      thresholds,
      sinks: options.sinks ?? [],
      violations: this.#violations,
      node: options.node,
      databaseClock,
      nowMs: () => this.#nowMs(),
      isSampled,
    })
    this.#watcher = new Watcher({ port: this.#recorder, databaseClock, modeOf: options.modeOf })
    this.#history = new History(Math.max(60, windowMinutes))
    this.#store = new RollUpStore({ own, schema, onRollUp: (rollUp) => this.#history.add(rollUp) })
    this.#sweep = new NoticeSweep({
      own,
      schema,
      onMissing: (found) => this.#recorder.violation(found),
      reachMs: this.#settings.noticeReachMs,
      ...(options.noticeGraceMs === undefined ? {} : { graceMs: options.noticeGraceMs }),
    })
    const { node, alert } = options
    this.#clusterAlert = new ClusterAlert({
      own,
      schema,
      logger,
      bounds: { alertBelow, recoverAbove },
      node,
      alert,
    })
    this.#outage = new Outage(clock, logger)
    this.#ticks = new Repeat({
      clock,
      everyMs: this.#settings.tickMs,
      work: () => this.#tick(),
      onError: (error) => logger.error({ error }, `a tick of the monitor failed: ${messageOf(error)}`),
    })
    this.#due = new Schedule(clock, ['rollUp', 'exchange', 'slowSweep'])
    const rooms = { watcher: this.#watcher, recorder: this.#recorder, logger, isSampled }
    this.probe = level === 'off' ? silentProbe : createReportProbe({ level, ...rooms })
  }

  get level(): MonitorLevel {
    return this.#settings.level
  }

  start(): void {
    if (this.level !== 'off') this.#ticks.start()
  }

  /** Writes the last roll-up, where the database answers within two seconds. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#ticks.stop()
    if (this.level === 'off') return
    const last = this.#working.then(() => this.#finish())
    await waitAtMost(this.#options.clock, 2_000, last)
  }

  async score(options: { readonly windowMinutes?: number | undefined } = {}): Promise<Score> {
    await this.#freshen()
    return this.#score(this.#window(options.windowMinutes))
  }

  /** Score by what this node knows now, without a question to the database. */
  get lastScore(): Score {
    return this.#score(this.#settings.windowMinutes)
  }

  /** Summary of the last window for `GET /lockstep/health`. */
  async summary(): Promise<HealthSummary> {
    await this.#freshen()
    const { windowMinutes } = this.#settings
    return {
      score: this.#score(windowMinutes).overall,
      violations: this.#history.violations(windowMinutes, this.#nowMs(), this.#recorder.openRollUp),
      gaps: this.#windowGaps(windowMinutes),
    }
  }

  /** The newest hundred of the cluster; of this node, while the database is away. */
  async violations(): Promise<readonly Violation[]> {
    return this.level === 'off' ? [] : this.#recent.read()
  }

  async dashboard(options: { readonly minutes?: number | undefined } = {}): Promise<DashboardData> {
    await this.#freshen()
    const violations = await this.violations()
    // Await nothing from here until all is counted: a roll-up would move the open roll-up into the history.
    const window = this.#window(options.minutes)
    const nowMs = this.#nowMs()
    return readDashboard({
      options: this.#options,
      settings: this.#settings,
      history: this.#history,
      live: this.#recorder.openRollUp,
      rates: this.#rates,
      clusterAlert: this.#clusterAlert,
      window,
      nowMs,
      score: this.#score(window),
      gaps: this.#windowGaps(window),
      violations,
      operations: this.#recorder.recent.list(this.#options.node(), (ms) =>
        this.#options.databaseClock.toDatabaseMs(ms),
      ),
    })
  }

  /** Ends the current roll-up now, and writes and reads what there is. @throws database errors */
  async rollUp(): Promise<void> {
    this.#rotate()
    await this.#store.write()
    await this.#read()
  }

  #tick(): void {
    this.#watcher.tick()
    this.#recorder.recent.tick()
    if (this.#due.isDue('rollUp', this.#settings.rollupMs)) this.#rotate()
    // A single statement at a time: where there is only one session, others need it too.
    if (this.#isWorking || !this.#outage.mayTry) return
    this.#isWorking = true
    this.#working = this.#work()
      .then(() => this.#outage.succeeded())
      .catch((error: unknown) => this.#outage.failed(error))
      .finally(() => {
        this.#isWorking = false
      })
  }

  async #work(): Promise<void> {
    const { own, schema } = this.#options
    if (!this.#isLoaded) {
      await this.#read()
      this.#isLoaded = true
    }
    await auditLog(own, schema, this.#watcher)
    await this.#violations.flush()
    if (this.#due.isDue('quickSweep', 2_000)) await this.#sweep.quick(this.#nowMs())
    if (this.#due.isDue('slowSweep', 10_000)) await this.#sweep.slow(this.#nowMs())
    if (this.#due.isDue('exchange', this.#settings.rollupMs)) {
      await this.#store.write()
      await this.#read()
    }
    if (this.#due.isDue('alert', 1_000)) await this.#watchScore()
    if (this.#due.isDue('trim', 3_600_000)) await this.#store.trim()
  }

  async #watchScore(): Promise<void> {
    const { windowMinutes } = this.#settings
    if (!this.#clusterAlert.isDue(this.#score(windowMinutes))) return
    // The figures that the decision rests on must be stored for all nodes, else a node that knows less moves it back.
    await this.rollUp()
    await this.#clusterAlert.move(
      this.#score(windowMinutes),
      this.#history.violations(windowMinutes, this.#nowMs(), this.#recorder.openRollUp),
    )
  }

  #rotate(): void {
    const { node, gauges } = this.#options
    const nowMs = this.#nowMs()
    const { connections, openOperations, bus, channels } = gauges()
    this.#rates.sample(channels, this.#options.clock.monotonic())
    this.#store.add(
      this.#recorder.takeRollUp().toRollUp({
        id: randomUUID(),
        node: node(),
        atMs: nowMs,
        gauges: { connections, openOperations, bus },
      }),
    )
    this.#history.trim(nowMs)
  }

  async #finish(): Promise<void> {
    try {
      for (let left = this.#violations.size; left > 0; left = this.#violations.size) {
        await this.#violations.flush()
        if (this.#violations.size >= left) break
      }
      this.#rotate()
      await this.#store.write()
    } catch (error) {
      this.#outage.failed(error)
    }
  }

  async #read(): Promise<void> {
    await this.#store.read(this.#nowMs() - Math.max(60, this.#settings.windowMinutes) * 60_000 - 60_000)
    await this.#clusterAlert.read()
    this.#readAtMs = this.#options.clock.monotonic()
  }

  /** Reads what the others wrote, when that is a second old; an answer is given without it when it takes long. */
  async #freshen(): Promise<void> {
    const { clock } = this.#options
    if (this.level === 'off' || this.#isClosed || !this.#outage.mayTry) return
    if (clock.monotonic() - this.#readAtMs < freshMs) return
    this.#reading ??= this.#read()
      .catch((error: unknown) => this.#outage.failed(error))
      .finally(() => {
        this.#reading = undefined
      })
    await waitAtMost(clock, freshMs, this.#reading)
  }

  #window(minutes: number | undefined): number {
    const { windowMinutes } = this.#settings
    return toWindow(minutes, { most: Math.max(60, windowMinutes), otherwise: windowMinutes })
  }

  #score(windowMinutes: number): Score {
    return this.#history.score(windowMinutes, this.#nowMs(), this.#recorder.openRollUp)
  }

  #windowGaps(window: number): Gaps {
    const { thresholds } = this.#settings
    return this.#gaps.of(window, () =>
      this.#history.gaps(window, this.#nowMs(), this.#recorder.openRollUp, thresholds),
    )
  }

  #onStored(violation: Violation): void {
    this.#recorder.stored(violation)
    this.#recent.stored(violation)
  }

  /** The database's time, as far as it is known here. */
  #nowMs(): number {
    return this.#options.databaseClock.toDatabaseMs(this.#options.clock.monotonic())
  }
}
