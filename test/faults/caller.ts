// A user's application on the real client: it calls operations, and notes every callback that tells it of one.
import {
  createClient as createOwnClient,
  LockstepClientError,
  type Client,
  type Ended,
  type OperationStorage,
} from '../../src/client/index.ts'
import { canonicalJson } from './canonical-json.ts'
import type { History, Told } from './history.ts'
import { MarkWatch } from './mark-watch.ts'
import { channelOf, ownerOf, wordsOf } from './places.ts'

export interface Plan {
  /** Place of each event: a room, a hall of a tenant, or the study of a user. */
  readonly rooms: readonly string[]
  readonly fail?: 'throw' | 'constraint' | 'deferred' | 'conflict'
  /** A nested transaction fails first, or a savepoint is rolled back, and leaves nothing. */
  readonly nested?: 'transaction' | 'savepoint'
  /** Text that tells one input of an id from another. Default: an empty text. */
  readonly note?: string
  /** Channel of a promise that is left outside the transaction, and withdrawn by a settlement. */
  readonly promise?: string
  readonly holdMs?: number
}

export interface CallerOptions {
  readonly name: string
  readonly user: string
  readonly url: string
  readonly token: string
  readonly history: History
  /** Build of the client. Default: that of the sources. */
  readonly createClient?: typeof createOwnClient
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
    history.add({ kind: 'invoke', id, client: name, user, ...sentBy(plan) })
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

  /** Reloads the page: a new client over the same storage. */
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
    const { name, user, url, token, history, createClient = createOwnClient } = this.#options
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
    client.notices.on((notice) => {
      const { transactionId: id, transient = false } = notice
      history.add({ kind: 'notice', id, client: name, page, transient, words: wordsOf(notice) })
    })
    return client
  }
}

interface Send {
  readonly id: string
  readonly client: string
  readonly copy?: boolean
}

/** Fields of an `invoke` line that describe the input sent. */
export function sentBy({ rooms, note = '' }: Plan): {
  readonly channels: readonly string[]
  readonly note: string
} {
  return { channels: rooms.map(channelOf), note }
}

export function noteReply(history: History, send: Send, outcome: Ended): void {
  if (outcome.outcome === 'committed') {
    const result = outcome.result as { readonly note: string } | undefined
    const offsets = Object.entries(outcome.positions).map(
      ([channel, { offset }]) => [channel, offset] as const,
    )
    history.add({
      kind: 'ok',
      ...send,
      reply: canonicalJson(outcome),
      note: result?.note ?? '',
      positions: Object.fromEntries(offsets),
    })
  } else if (outcome.outcome === 'rolled_back') {
    const { notice } = outcome
    const transient = notice.transient === true
    const words = wordsOf(notice)
    history.add({
      kind: 'fail',
      ...send,
      told: 'rolled_back',
      reply: canonicalJson(outcome),
      transient,
      words,
    })
  } else history.add({ kind: 'fail', ...send, told: 'never_received' })
}

function noteError(history: History, send: Send, error: unknown): void {
  if (!isClientError(error)) throw error
  const unknown = error.reason === 'LS_CLIENT_CLOSED' || error.reason === 'LS_CLIENT_OUTCOME_UNKNOWN'
  if (unknown) history.add({ kind: 'info', ...send, why: error.message })
  else history.add({ kind: 'fail', ...send, told: 'refused' satisfies Told, reply: error.message })
}

/** Compares by name: another build of the client has a class of its own. */
function isClientError(error: unknown): error is LockstepClientError {
  return error instanceof Error && error.name === LockstepClientError.name
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
