import { fork, type ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import type { Trace } from './call-trace.ts'

/** Pause between two questions whether all operations have ended: nodes send no word of it. */
const askAgainMs = 100

/** State of a node. */
export interface NodeState {
  /** Id of the node's lease: a new id means that the node has lost the lease before. */
  readonly node: string
  readonly lease: string
  readonly openOperations: number
  /** Resident set of the process, in bytes. */
  readonly rss: number
  /** Requests for a turn that were refused since the start. */
  readonly refused: number
  /** Users who wait for a turn now. */
  readonly waiting: number
  /** Delay of the event loop, 99th percentile since the last question, in milliseconds. */
  readonly loopLagMs: number
}

/** Message to the node: `profile` records processor time from now on until the next question for it. */
export type NodeQuestion = 'state' | 'profile' | 'trace'
export type NodeAnswer = NodeState | Trace | { readonly port: number } | { readonly profiled: boolean }

/** A node in a process of its own. */
export class NodeProcess {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** @throws Error when the process ends before it serves */
  static start(bundle: string, env: NodeJS.ProcessEnv): Promise<NodeProcess> {
    // Production mode: in development each operation costs a stack trace, for the warnings there.
    const child = fork(bundle, [], { env: { ...process.env, NODE_ENV: 'production', ...env }, execArgv: [] })
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`a node ended with code ${code}`)))
      child.once('message', (answer: NodeAnswer) => {
        if ('port' in answer) resolve(new NodeProcess(child, answer.port))
      })
    })
  }

  /** @throws Error when the process has ended */
  async state(): Promise<NodeState> {
    const answer = await this.#ask('state')
    if ('node' in answer) return answer
    throw new Error('a node answered something else')
  }

  /** Asks until no operation is open, at most for so long. @returns how many still are */
  async idle(withinMs: number): Promise<number> {
    const deadline = performance.now() + withinMs
    for (;;) {
      const { openOperations } = await this.state()
      if (openOperations === 0 || performance.now() > deadline) return openOperations
      await pause(askAgainMs)
    }
  }

  async profile(): Promise<void> {
    await this.#ask('profile')
  }

  /** Reads the trace since the last question, of a node that was started with one. */
  async trace(): Promise<Trace> {
    const answer = await this.#ask('trace')
    if ('calls' in answer) return answer
    throw new Error('a node answered something else')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Asks one question at a time. */
  #ask(question: NodeQuestion): Promise<NodeAnswer> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null): void => reject(new Error(`a node ended with code ${code}`))
      this.#child.once('exit', gone)
      this.#child.once('message', (answer: NodeAnswer) => {
        this.#child.off('exit', gone)
        resolve(answer)
      })
      this.#child.send(question)
    })
  }
}
