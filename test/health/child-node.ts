import { fork, type ChildProcess } from 'node:child_process'
import type { Load, LoadResult } from './load.ts'
import type { Answer, Ask, Command } from './node.ts'

/** A node in a process of its own. */
export class ChildNode {
  readonly http: string
  readonly #child: ChildProcess
  readonly #asked = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >()
  #next = 1

  private constructor(child: ChildProcess, http: string) {
    this.#child = child
    this.http = http
    child.on('message', (answer: Answer) => {
      if (!('id' in answer)) return
      const asked = this.#asked.get(answer.id)
      this.#asked.delete(answer.id)
      if ('error' in answer) asked?.reject(new Error(answer.error))
      else asked?.resolve(answer.value)
    })
    child.once('exit', (code) => {
      for (const { reject } of this.#asked.values()) reject(new Error(`the node ended with code ${code}`))
    })
  }

  /** @throws Error when the node ends before it serves */
  static start(databaseUrl: string): Promise<ChildNode> {
    const child = fork(new URL('./node.ts', import.meta.url), [], {
      execArgv: ['--expose-gc', '--import', 'tsx'],
      env: { ...process.env, HEALTH_DATABASE_URL: databaseUrl },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the node ended with code ${code}`)))
      child.once('message', (answer: Answer) => {
        if ('http' in answer) resolve(new ChildNode(child, answer.http))
      })
    })
  }

  load(load: Load): Promise<LoadResult> {
    return this.#ask({ kind: 'load', load }) as Promise<LoadResult>
  }

  heap(): Promise<number> {
    return this.#ask({ kind: 'heap' }) as Promise<number>
  }

  untold(): Promise<string> {
    return this.#ask({ kind: 'untold' }) as Promise<string>
  }

  async stop(): Promise<void> {
    await this.#ask({ kind: 'stop' })
    this.#child.kill('SIGKILL')
  }

  #ask(command: Command): Promise<unknown> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject })
      this.#child.send({ id, command } satisfies Ask)
    })
  }
}
