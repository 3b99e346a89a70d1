import { fork, type ChildProcess } from 'node:child_process'

/** How a node is. */
export interface NodeState {
  /** Its lease: another one means that it has lost the one before. */
  readonly node: string
  readonly lease: string
  readonly openOperations: number
  /** Bytes. */
  readonly rss: number
  /** Questions for a turn that were refused since the start. */
  readonly refused: number
}

export type NodeAnswer = NodeState | { readonly port: number }

/** A node in a process of its own. */
export class NodeProcess {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  /** @throws Error when the process ends before it serves */
  static start(bundle: string, env: NodeJS.ProcessEnv): Promise<NodeProcess> {
    const child = fork(bundle, [], { env: { ...process.env, ...env }, execArgv: [] })
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`a node ended with code ${code}`)))
      child.once('message', (answer: NodeAnswer) => {
        if ('port' in answer) resolve(new NodeProcess(child, answer.port))
      })
    })
  }

  /** @throws Error when the process has ended */
  state(): Promise<NodeState> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null): void => reject(new Error(`a node ended with code ${code}`))
      this.#child.once('exit', gone)
      this.#child.once('message', (answer: NodeAnswer) => {
        this.#child.off('exit', gone)
        if (!('port' in answer)) resolve(answer)
      })
      this.#child.send('state')
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}
