// A user of jobs, on the real client.
import { WebSocket } from 'ws'
import { createClient as createOwnClient, newOperationId, type Client } from '../../src/client/index.ts'
import type { History } from './history.ts'
import type { JobPlan } from './jobs.ts'

export interface RunnerOptions {
  readonly user: string
  readonly url: string
  readonly token: string
  readonly history: History
}

/** A user who starts jobs and stops some of them, and notes what was acknowledged. */
export class Runner {
  readonly #history: History
  readonly #client: Client
  #open = 0

  constructor({ user, url, token, history }: RunnerOptions) {
    this.#history = history
    this.#client = createOwnClient({
      url,
      user,
      getToken: () => Promise.resolve(token),
      websocket: WebSocket,
      minReconnectDelayMs: 50,
      maxReconnectDelayMs: 1_000,
      timeoutMs: 5_000,
      onError: () => {},
    })
  }

  get openCount(): number {
    return this.#open
  }

  /** Answers the id of the run, where its start was acknowledged. */
  async start(plan: JobPlan): Promise<string | undefined> {
    const result = (await this.#call('start_job', plan)) as { readonly run: string } | undefined
    if (result === undefined) return undefined
    this.#history.add({ kind: 'job', what: 'started', run: result.run, at: Date.now() })
    return result.run
  }

  /** Answers whether the stop was acknowledged. */
  async stop(run: string): Promise<boolean> {
    if ((await this.#call('stop_job', { run })) === undefined) return false
    this.#history.add({ kind: 'job', what: 'stopped', run, at: Date.now() })
    return true
  }

  close(): void {
    this.#client.close()
  }

  /** The result of a commit; undefined for whatever else became of the call. */
  async #call(name: string, input: unknown): Promise<unknown> {
    this.#open += 1
    try {
      const outcome = await this.#client.call(name, input, { id: newOperationId() }).outcome
      return outcome.outcome === 'committed' ? outcome.result : undefined
    } catch {
      return undefined
    } finally {
      this.#open -= 1
    }
  }
}
