// A user's application on the real client: it calls operations, and notes every callback that tells it of one.
import {
  createClient,
  LockstepClientError,
  type Client,
  type FinalOutcome,
  type OperationStorage,
} from '../../src/client/index.ts'
import { canonicalJson } from './canonical-json.ts'
import type { History, Told } from './history.ts'
import { MarkWatch } from './mark-watch.ts'
import { channelOf, ownerOf } from './places.ts'

export interface Plan {
  /** One for each event: a room, or a hall of a tenant. */
  readonly rooms: readonly string[]
  readonly fail?: 'throw' | 'constraint' | 'deferred'
  readonly holdMs?: number
}

export interface CallerOptions {
  readonly name: string
  readonly user: string
  readonly url: string
  readonly token: string
  readonly history: History
}

export class Caller {
  readonly user: string
  readonly #options: CallerOptions
  readonly #storage = memoryStorage()
  readonly #watch: MarkWatch
  #client: Client
  #waiting = 0
  #page = 0

  constructor(options: CallerOptions) {
    this.user = options.user
    this.#options = options
    this.#watch = new MarkWatch(options.history, options.name, [ownerOf(options.user)])
    this.#client = this.#open()
  }

  /** Calls that have not settled, and operations of earlier pages without an outcome. */
  get openCount(): number {
    return Math.max(this.#waiting, this.#client.operations.pending.length)
  }

  get isConnected(): boolean {
    return this.#client.connection.state === 'connected'
  }

  get pending(): readonly string[] {
    return this.#client.operations.pending.map(({ id, state }) => `${id} (${state})`)
  }

  /** Resolves when the call has settled, or its page has gone. */
  async call(id: string, plan: Plan): Promise<void> {
    const { history, name, user } = this.#options
    const channels = plan.rooms.map(channelOf)
    history.add({ kind: 'invoke', id, client: name, user, channels })
    this.#waiting += 1
    try {
      const outcome = await this.#client.call('work', plan, { id }).outcome
      noteReply(history, { id, client: name }, outcome)
    } catch (error) {
      noteError(history, { id, client: name }, error)
    } finally {
      this.#waiting -= 1
    }
  }

  /** A page that is reloaded: a new client over the same storage. */
  reload(): void {
    this.#client.close()
    this.#page += 1
    this.#client = this.#open()
  }

  close(): void {
    this.#client.close()
    this.#watch.close()
  }

  #open(): Client {
    const { name, user, url, token, history } = this.#options
    const client = createClient({
      url,
      user,
      getToken: () => Promise.resolve(token),
      storage: this.#storage,
      websocket: this.#watch.websocket,
      minReconnectDelayMs: 50,
      maxReconnectDelayMs: 1_000,
      timeoutMs: 5_000,
      onError: () => {},
    })
    const page = this.#page
    client.operations.on('settled', ({ id }, outcome) => {
      const transient = outcome.outcome === 'rolled_back' && outcome.notice.transient === true
      history.add({ kind: 'outcome', id, client: name, told: outcome.outcome, transient })
    })
    client.notices.on(({ transactionId, transient = false }) => {
      history.add({ kind: 'notice', id: transactionId, client: name, page, transient })
    })
    return client
  }
}

interface Send {
  readonly id: string
  readonly client: string
  readonly copy?: boolean
}

export function noteReply(history: History, send: Send, outcome: FinalOutcome): void {
  if (outcome.outcome === 'committed') history.add({ kind: 'ok', ...send, reply: canonicalJson(outcome) })
  else if (outcome.outcome === 'rolled_back') {
    const transient = outcome.notice.transient === true
    history.add({ kind: 'fail', ...send, told: 'rolled_back', reply: canonicalJson(outcome), transient })
  } else history.add({ kind: 'fail', ...send, told: 'never_received' })
}

function noteError(history: History, send: Send, error: unknown): void {
  if (!(error instanceof LockstepClientError)) throw error
  const unknown = error.reason === 'LS_CLIENT_CLOSED'
  if (unknown) history.add({ kind: 'info', ...send, why: error.message })
  else history.add({ kind: 'fail', ...send, told: 'refused' satisfies Told, reply: error.message })
}

function memoryStorage(): OperationStorage {
  const items = new Map<string, string>()
  return {
    get length() {
      return items.size
    },
    key: (index) => [...items.keys()][index] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  }
}
