// A server process of the fault lanes, seen from the process that starts it, breaks it and ends it.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { FaultPoint } from '../../src/core/fault-point.ts'
import type { Arm, Disarm, NodeConfig, NodeLine } from './node.ts'

export interface NodeProcessOptions {
  readonly bundle: string
  readonly config: NodeConfig
  /** File descriptor for the process's log. */
  readonly log?: number
  readonly onReached?: (point: FaultPoint) => void
}

const startTimeoutMs = 30_000

export class NodeProcess {
  readonly #child: ChildProcess
  readonly #reached = new Set<FaultPoint>()
  /** Actions that were prepared, by the point at which they come. */
  readonly #armed = new Map<FaultPoint, Arm['action']>()
  #onArmed: (() => void) | undefined
  #ended: string | undefined
  /** Resolves when the process serves. Rejects when it ends before. */
  readonly ready: Promise<void>
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  #ports: readonly number[] = []
  #readyAt = Number.POSITIVE_INFINITY
  #exiting = false
  #gone = false
  #paused = false

  constructor({ bundle, config, log, onReached }: NodeProcessOptions) {
    const child = spawn(process.execPath, ['--enable-source-maps', bundle], {
      env: { ...process.env, FAULT_NODE: JSON.stringify(config) },
      stdio: ['pipe', 'pipe', log ?? 'ignore'],
    })
    this.#child = child
    child.stdin?.on('error', () => {})
    this.exited = once(child, 'close').then(([code, signal]) => {
      this.#exiting = true
      this.#gone = true
      return { code: code as number | null, signal: signal as NodeJS.Signals | null }
    })
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('a node did not start in time')), startTimeoutMs)
      child.once('close', (code, signal) => {
        clearTimeout(timer)
        reject(new Error(`a node ended before it was ready (${signal ?? code})`))
      })
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
        // A line that a process prints as it dies may be cut off.
        if (!text.endsWith('}')) return
        const line = JSON.parse(text) as NodeLine
        if ('ready' in line) {
          clearTimeout(timer)
          this.#ports = line.ready
          this.#readyAt = performance.now()
          resolve()
        } else if ('armed' in line) {
          this.#onArmed?.()
        } else {
          this.#reached.add(line.reached)
          if (this.#armed.get(line.reached) === 'kill') {
            this.#exiting = true
            this.#ended ??= line.reached
          }
          onReached?.(line.reached)
        }
      })
    })
    this.ready.catch(() => {})
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Ports of its HTTP servers while it serves: one, or one for each node where several live in the process. */
  get ports(): readonly number[] {
    return this.#exiting || this.#paused ? [] : this.#ports
  }

  /** Milliseconds since the process began to serve; below 0 when it has not. */
  get servedMs(): number {
    return performance.now() - this.#readyAt
  }

  /** First of the ports. */
  get port(): number | undefined {
    return this.ports[0]
  }

  /** Name of the fault that ended the process: a signal, or the fault point where it killed itself. */
  get ended(): string | undefined {
    return this.#ended
  }

  /** The process has ended. */
  get gone(): boolean {
    return this.#gone
  }

  get alive(): boolean {
    return !this.#exiting
  }

  reached(point: FaultPoint): boolean {
    return this.#reached.has(point)
  }

  /** Resolves when the process has taken note, or has ended. */
  async arm(arm: Arm): Promise<void> {
    this.#armed.set(arm.point, arm.action)
    await this.#tell(arm)
  }

  /** Takes back what was armed and not reached. Resolves when the process has taken note, or has ended. */
  async disarm(): Promise<void> {
    if (this.#armed.size === 0 || this.#exiting) return
    await this.#tell({ disarm: true })
  }

  async #tell(line: Arm | Disarm): Promise<void> {
    const noted = new Promise<void>((resolve) => (this.#onArmed = resolve))
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`)
    await Promise.race([noted, this.exited])
  }

  signal(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#paused = signal === 'SIGSTOP'
    if (signal === 'SIGKILL' || signal === 'SIGTERM') {
      this.#exiting = true
      this.#ended ??= signal
    }
    this.#child.kill(signal)
  }

  /** Kills the process by SIGKILL, and waits for its end. */
  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.exited
  }
}
