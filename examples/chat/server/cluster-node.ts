import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { MemberMessage } from './cluster-member.ts'

export interface ClusterNodeOptions {
  readonly name: string
  /** The script that runs the demo. */
  readonly entry: string
  readonly env: NodeJS.ProcessEnv
  readonly log: (line: string) => void
  /** Called when a user has pressed the button that kills a node. */
  readonly onKillWanted: () => void
}

const restartAfterMs = 4_000
const healthWithinMs = 500
const stopWithinMs = 10_000

/** A place in the cluster: a process, and its successor when it ends. */
export class ClusterNode {
  readonly name: string
  readonly #options: ClusterNodeOptions
  #child: ChildProcess | undefined
  #port: number | undefined
  #isStopping = false
  #restart: NodeJS.Timeout | undefined
  /** Resolves when the first process serves. */
  readonly ready: Promise<void>
  #isReady: () => void = () => {}

  constructor(options: ClusterNodeOptions) {
    this.name = options.name
    this.#options = options
    this.ready = new Promise((resolve) => (this.#isReady = resolve))
    this.#start()
  }

  /** Port that the node serves on; undefined while it does not. */
  get port(): number | undefined {
    return this.#port
  }

  /** How many clients it serves, as it says itself; 0 when it does not say. */
  async clients(): Promise<number> {
    if (this.#port === undefined) return 0
    try {
      const signal = AbortSignal.timeout(healthWithinMs)
      const response = await fetch(`http://127.0.0.1:${this.#port}/demo/health`, { signal })
      const { connections } = (await response.json()) as { readonly connections?: number }
      return connections ?? 0
    } catch {
      // Count no clients: the node is ending, or too busy to answer.
      return 0
    }
  }

  /** SIGKILL: nothing is flushed, told or given back. */
  kill(): void {
    this.#port = undefined
    this.#child?.kill('SIGKILL')
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#restart)
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    const patience = setTimeout(() => child.kill('SIGKILL'), stopWithinMs)
    await exited
    clearTimeout(patience)
  }

  #start(): void {
    const { entry, env, log, onKillWanted } = this.#options
    const child = fork(entry, [], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.#child = child
    child.on('message', (message: MemberMessage) => {
      if ('killSomeNode' in message) return onKillWanted()
      this.#port = message.listening
      log(`${this.name} serves (process ${child.pid})`)
      this.#isReady()
    })
    child.once('exit', (code, signal) => {
      this.#port = undefined
      if (this.#isStopping) return
      log(`${this.name} ended (${signal ?? `code ${code}`}); another starts in ${restartAfterMs / 1_000} s`)
      this.#restart = setTimeout(() => this.#start(), restartAfterMs)
    })
  }
}
