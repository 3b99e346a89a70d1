import { Answers } from './answers.ts'
import type { Backend } from './backend.ts'
import { Conversations, readMarks } from './conversations.ts'
import { createDraftStorage, type DraftStorage } from './drafts.ts'
import { createOutboxStorage } from './outbox.ts'
import { Sending } from './sending.ts'
import { createStore, type Store } from './store.ts'
import { addEntry, remark } from './timeline.ts'
import type { ChatState, TimelineRemark } from './types.ts'

// How long "Drop my socket" stays away: long enough for others to say something meanwhile.
const droppedMs = 2500

/**
 * Session of one signed-in user on one page. Knows nothing of the screen: components read `store` and call the methods.
 */
export class ChatSession {
  readonly user: string
  readonly store: Store<ChatState>
  readonly conversations: Conversations
  readonly sending: Sending
  readonly drafts: DraftStorage
  readonly #answers: Answers
  readonly #backend: Backend
  readonly #stops: (() => void)[] = []

  constructor(user: string, backend: Backend, storage: Storage, tabStorage: Storage) {
    this.user = user
    this.#backend = backend
    this.drafts = createDraftStorage(tabStorage, storage, user)
    const outbox = createOutboxStorage(storage, user)
    this.store = createStore<ChatState>({
      connection: 'connecting',
      wasConnected: false,
      conversations: { status: 'loading', list: [] },
      threads: {},
      answers: {},
      outbox: outbox.load(),
      read: readMarks(storage, user),
      timeline: [],
      toasts: [],
      announcement: '',
    })
    this.sending = new Sending({
      user,
      store: this.store,
      backend,
      outbox,
      onCommitted: (message) => this.conversations.show(message),
      onRolledBack: ({ conversationId, id }) => this.conversations.hide(conversationId, id),
    })
    this.#answers = new Answers({ store: this.store, backend })
    this.conversations = new Conversations({
      user,
      store: this.store,
      backend,
      storage,
      onEvent: (message) => this.sending.settleByEvent(message),
      onJoin: (id, channel) => this.#answers.follow(id, channel),
    })
  }

  /** Connects and joins. Call once. */
  start(): void {
    this.#followConnection()
    this.#stops.push(this.sending.start(), this.conversations.start())
  }

  close(): void {
    for (const stop of this.#stops.splice(0)) stop()
    this.#backend.close()
  }

  /** Closes the WebSocket for a moment, as a tunnel or a lift would. */
  dropSocket(): void {
    this.#remark('plain', 'Dropping the socket on purpose')
    this.#backend.connection.disconnect()
    setTimeout(() => this.#backend.connection.connect(), droppedMs)
  }

  /** Stops an answer. Where that is refused, the answer goes on, and the page says so. */
  async stopAnswer(conversationId: string, runId: string): Promise<void> {
    try {
      await this.#answers.stop(conversationId, runId)
    } catch (error) {
      this.#remark('bad', `Stop was refused: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  dismissToast(id: string): void {
    this.store.update((state) => ({ ...state, toasts: state.toasts.filter((toast) => toast.id !== id) }))
  }

  #followConnection(): void {
    const { connection } = this.#backend
    const apply = (): void => {
      const before = this.store.get()
      if (before.connection === connection.state) return
      this.store.update((state) => ({
        ...state,
        connection: connection.state,
        wasConnected: state.wasConnected || connection.state === 'connected',
      }))
      if (connection.state === 'connected')
        this.#remark('good', before.wasConnected ? 'Reconnected' : 'Connected')
      else if (before.connection === 'connected') this.#remark('bad', 'Connection lost')
    }
    this.#stops.push(connection.on('change', apply))
    apply()
  }

  #remark(tone: TimelineRemark['tone'], text: string): void {
    this.store.update((state) => ({ ...state, timeline: addEntry(state.timeline, remark(tone, text)) }))
  }
}
