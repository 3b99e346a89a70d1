// The bench's end of a server under test: a process of its own, so that no variant shares a loop with another.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { built, type Build } from './built.ts'

interface Reply {
  readonly id: number
  readonly answer?: unknown
  readonly error?: string
}

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

const living = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

/** A process of bench/children, which answers questions. */
export class Child {
  readonly pid: number
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  private constructor(child: ChildProcess) {
    this.#process = child
    this.pid = child.pid ?? 0
    living.add(child)
    child.on('message', (reply: Reply) => this.#settle(reply))
    child.once('exit', (code, signal) => {
      living.delete(child)
      const error = new Error(`a child of the bench ended with ${signal ?? code}`)
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    })
  }

  /** Resolves when it is ready. Default build: that of the working tree. */
  static async start(file: string, config: object, build?: Build): Promise<Child> {
    const { children } = build ?? (await built())
    const child = new Child(
      fork(join(children, file.replace(/\.ts$/, '.js')), {
        execArgv: ['--expose-gc'],
        env: { ...process.env, BENCH_CHILD: JSON.stringify(config) },
      }),
    )
    await child.ask('ready')
    return child
  }

  /** @throws errors of the child; an error when it has ended */
  ask<Answer = void>(question: string, argument?: unknown): Promise<Answer> {
    const id = (this.#lastId += 1)
    return new Promise((resolve, reject) => {
      if (!this.#process.connected) return reject(new Error('a child of the bench has ended'))
      this.#waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject })
      this.#process.send({ id, question, argument })
    })
  }

  /** Lets it end by itself, so that a profile is written; not for long. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 3_000)
    if (this.#process.connected) this.#process.disconnect()
    await exited
    clearTimeout(timer)
  }

  #settle({ id, answer, error }: Reply): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(answer)
    else waiting?.reject(new Error(error))
  }
}

export async function endAll(children: readonly Child[]): Promise<void> {
  await Promise.all(children.map((child) => child.end()))
}
