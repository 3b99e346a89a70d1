import { openConversation, type Backend, type ConversationChannel } from './backend.ts'
import type { Store } from './store.ts'
import { emptyThread, mergeMessages, mergeNewest } from './thread.ts'
import { addEntry, remark } from './timeline.ts'
import type { ChatState, Conversation, Message, ShownMessage, Thread } from './types.ts'

// A connection may hold 128 subscriptions; the rest of a longer list is joined when it is opened.
const joinedAtMost = 60

interface ConversationsParts {
  readonly user: string
  readonly store: Store<ChatState>
  readonly backend: Backend
  readonly storage: Storage
  readonly onEvent: (message: ShownMessage) => void
  /** Called with the channel of each conversation that is joined. */
  readonly onJoin: (id: string, channel: ConversationChannel) => void
}

/** Joins the user's conversations, keeps their messages, and remembers what has been read. */
export class Conversations {
  readonly #parts: ConversationsParts
  readonly #joined = new Map<string, { close(): void }>()

  constructor(parts: ConversationsParts) {
    this.#parts = parts
  }

  start(): () => void {
    const { backend, user } = this.#parts
    const inbox = backend.channel(`inbox:${user}`)
    inbox.on('conversation.created', (conversation) => this.#add(conversation))
    inbox.onReset(() => void this.load())
    void this.load()
    return () => {
      inbox.close()
      for (const channel of this.#joined.values()) channel.close()
      this.#joined.clear()
    }
  }

  async load(): Promise<void> {
    const { backend, store } = this.#parts
    try {
      const { conversations } = await backend.query('list_conversations', {})
      store.update((state) => ({ ...state, conversations: { status: 'ready', list: conversations } }))
      for (const { id } of conversations.slice(0, joinedAtMost)) this.join(id)
    } catch {
      store.update((state) =>
        state.conversations.status === 'ready'
          ? state
          : { ...state, conversations: { ...state.conversations, status: 'failed' } },
      )
    }
  }

  /** Reads the conversation and follows it from exactly there. Does nothing when it is followed already. */
  join(id: string): void {
    if (this.#joined.has(id)) return
    const { backend, onJoin } = this.#parts
    const channel = openConversation(backend, id, () => this.#read(id))
    // Events of the turn in which the channel is joined again: what was missed is delivered together with that news.
    let missed: number | undefined
    channel.on('message.created', (message, { operationId, offset }) => {
      if (missed !== undefined) missed++
      const { uncoordinated, runId: _, ...sent } = message
      this.#arrived({
        ...sent,
        operationId,
        isCommitted: offset !== undefined,
        ...(offset === undefined ? {} : { offset }),
        ...(uncoordinated === undefined ? {} : { uncoordinated }),
      })
    })
    channel.onChange((state) => {
      // Give up where the server refused for good: not a member, or no such conversation.
      if (state === 'unsubscribed') this.#failed(id)
      if (state !== 'subscribed') return
      missed = 0
      queueMicrotask(() => {
        if (missed !== undefined && missed > 0)
          this.#remark(`Caught up on ${missed} missed ${missed === 1 ? 'event' : 'events'}`)
        missed = undefined
      })
    })
    channel.onReset(() => this.#remark(`conversation:${id} was read again from the database`))
    onJoin(id, channel)
    this.#joined.set(id, channel)
  }

  /** Tries again after a failed load. */
  rejoin(id: string): void {
    this.#joined.get(id)?.close()
    this.#joined.delete(id)
    this.#thread(id, () => emptyThread)
    this.join(id)
  }

  async create(title: string, members: readonly string[]): Promise<string> {
    const { outcome } = this.#parts.backend.call('create_conversation', { title, members: [...members] })
    const settled = await outcome
    if (settled.outcome === 'rolled_back') throw new Error(settled.notice.userMessage)
    if (settled.outcome !== 'committed') throw new Error('The server never received it. Try again.')
    this.#add(settled.result)
    return settled.result.id
  }

  /** Shows a message, whichever way it came. */
  show(message: ShownMessage): void {
    this.#thread(message.conversationId, (thread) => mergeMessages(thread, [message]))
    this.#parts.store.update((state) => ({
      ...state,
      conversations: { ...state.conversations, list: withLast(state.conversations.list, message) },
    }))
  }

  /** Hides a message that was shown early and then rolled back. */
  hide(conversationId: string, id: string): void {
    this.#thread(conversationId, (thread) => ({
      ...thread,
      messages: thread.messages.filter((message) => message.id !== id),
    }))
    this.#parts.store.update((state) => {
      const lastMessage = state.threads[conversationId]?.messages.at(-1) ?? null
      const list = state.conversations.list.map((conversation) =>
        conversation.lastMessage?.id === id ? { ...conversation, lastMessage } : conversation,
      )
      return { ...state, conversations: { ...state.conversations, list } }
    })
  }

  /** Reads the page before the oldest message here. @throws what the server answers */
  async loadEarlier(conversationId: string): Promise<void> {
    const { backend, store } = this.#parts
    const oldest = store.get().threads[conversationId]?.messages.find(({ isCommitted }) => isCommitted)
    if (oldest === undefined) return
    const before = { id: oldest.id, createdAt: oldest.createdAt }
    const { messages, hasEarlier } = await backend.query('list_messages', { conversationId, before })
    this.#thread(conversationId, (thread) => ({ ...mergeMessages(thread, messages.map(saved)), hasEarlier }))
  }

  /** @param newest `createdAt` of the newest message on the screen */
  markRead(id: string, newest: string): void {
    const { store, storage, user } = this.#parts
    if (newest <= (store.get().read[id] ?? '')) return
    store.update((state) => ({ ...state, read: { ...state.read, [id]: newest } }))
    try {
      storage.setItem(readKey(user), JSON.stringify(store.get().read))
    } catch {
      // A mark that cannot be kept costs an unread dot after the next reload.
    }
  }

  async #read(id: string): Promise<{ offset: number; epoch: string }> {
    try {
      const { messages, hasEarlier, offset, epoch } = await this.#parts.backend.query('list_messages', {
        conversationId: id,
      })
      this.#thread(id, (thread) => mergeNewest(thread, { messages: messages.map(saved), hasEarlier }))
      return { offset, epoch }
    } catch (error) {
      this.#failed(id)
      throw error
    }
  }

  #failed(id: string): void {
    this.#thread(id, (thread) => (thread.status === 'ready' ? thread : { ...thread, status: 'failed' }))
  }

  #arrived(message: ShownMessage): void {
    const { store, user, onEvent } = this.#parts
    this.show(message)
    if (message.author !== user) {
      store.update((state) => ({ ...state, announcement: `${message.author}: ${message.body}` }))
    }
    onEvent(message)
  }

  #add(conversation: Conversation): void {
    this.#parts.store.update((state) => {
      const { list } = state.conversations
      if (list.some(({ id }) => id === conversation.id)) return state
      return { ...state, conversations: { ...state.conversations, list: [...list, conversation] } }
    })
    this.join(conversation.id)
  }

  #thread(id: string, change: (thread: Thread) => Thread): void {
    this.#parts.store.update((state) => ({
      ...state,
      threads: { ...state.threads, [id]: change(state.threads[id] ?? emptyThread) },
    }))
  }

  #remark(text: string): void {
    this.#parts.store.update((state) => ({
      ...state,
      timeline: addEntry(state.timeline, remark('plain', text)),
    }))
  }
}

/** The lobby first, then by the newest word. */
export function sortConversations(list: readonly Conversation[]): readonly Conversation[] {
  const when = (conversation: Conversation): string =>
    conversation.id === 'lobby' ? '~' : (conversation.lastMessage?.createdAt ?? '')
  return list.toSorted((a, b) => (when(a) < when(b) ? 1 : when(a) > when(b) ? -1 : 0))
}

export function isUnread(state: ChatState, conversation: Conversation, user: string): boolean {
  const last = conversation.lastMessage
  return last !== null && last.author !== user && last.createdAt > (state.read[conversation.id] ?? '')
}

export function readMarks(storage: Storage, user: string): Readonly<Record<string, string>> {
  try {
    return JSON.parse(storage.getItem(readKey(user)) ?? '{}') as Record<string, string>
  } catch {
    return {}
  }
}

function readKey(user: string): string {
  return `lockstep-chat:read:${user}`
}

const saved = (message: Message): ShownMessage => ({ ...message, isCommitted: true })

function withLast(list: readonly Conversation[], message: Message): readonly Conversation[] {
  return list.map((conversation) =>
    conversation.id === message.conversationId &&
    (conversation.lastMessage === null || conversation.lastMessage.createdAt <= message.createdAt)
      ? { ...conversation, lastMessage: message }
      : conversation,
  )
}
