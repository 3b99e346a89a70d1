import { LockstepClientError, newOperationId, type Ended } from 'lockstep/client'
import { asksAssistant } from './answers.ts'
import type { Backend } from './backend.ts'
import type { OutboxStorage } from './outbox.ts'
import { SendQueue } from './send-queue.ts'
import type { Store } from './store.ts'
import { emptyThread, sortAtEnd } from './thread.ts'
import { addEntry, changeOperation } from './timeline.ts'
import type {
  ChatState,
  Message,
  OutboxEntry,
  OutboxState,
  ShownMessage,
  TimelineOperation,
} from './types.ts'

interface SendingParts {
  readonly user: string
  readonly store: Store<ChatState>
  readonly backend: Backend
  readonly outbox: OutboxStorage
  /** A commit that was heard as a reply; its event may come before or after. */
  readonly onCommitted: (message: ShownMessage) => void
  /** Called when a message has rolled back that may have been shown early. */
  readonly onRolledBack: (entry: OutboxEntry) => void
}

// A reply that an earlier page heard may be missing here; this is how long the client gets to find it out first.
const askAgainAfterMs = 4000
// Delays after which the server is asked for what it measured: it may need a moment to put that together.
const evidenceAfterMs = [400, 800, 1600]

/** Sends messages and follows each one to its outcome: on the screen, in storage and in the timeline. */
export class Sending {
  readonly #parts: SendingParts
  readonly #queue: SendQueue

  constructor(parts: SendingParts) {
    this.#parts = parts
    this.#queue = new SendQueue(() => parts.backend.connection.state === 'connected')
  }

  start(): () => void {
    const { backend, store, outbox } = this.#parts
    for (const entry of store.get().outbox) if (entry.state.kind === 'sending') this.#note(entry)
    const stops = [
      // Handles outcomes of an earlier page's messages too; each arrives here once.
      backend.operations.on('settled', ({ id, name }, outcome) => {
        if (isSending(name)) this.#settled(id, name, outcome)
      }),
      backend.notices.on(({ transactionId, userMessage, errorMessage, failedOperation }) => {
        if (this.#entry(transactionId) !== undefined)
          this.#rolledBack(transactionId, userMessage, errorMessage)
        else if (failedOperation === 'answer') this.#toast(transactionId, userMessage)
        else if (isSending(failedOperation) && outbox.find(transactionId)?.state.kind !== 'believed')
          this.#toast(transactionId, userMessage)
      }),
      this.#askForForgotten(),
    ]
    return () => {
      for (const stop of stops) stop()
    }
  }

  send(conversationId: string, body: string): void {
    const { store, outbox } = this.#parts
    const now = Date.now()
    const entry: OutboxEntry = {
      id: newOperationId(),
      conversationId,
      body,
      sentAt: now,
      sortAt: sortAtEnd(store.get().threads[conversationId] ?? emptyThread, now),
      state: { kind: 'sending' },
    }
    outbox.put(entry)
    store.update((state) => ({ ...state, outbox: [...state.outbox, entry] }))
    this.#note(entry)
    this.#queue.add(conversationId, () => {
      // Restart the clock: the wait for the message before it is no part of the server's time.
      store.update((state) => ({
        ...state,
        timeline: changeOperation(state.timeline, entry.id, () => ({ at: Date.now() })),
      }))
      return this.#call(entry)
    })
  }

  /** The same words as a new operation: the old id is settled for good. */
  retry(id: string): void {
    const entry = this.#entry(id)
    if (entry === undefined) return
    this.send(entry.conversationId, entry.body)
    this.discard(id)
  }

  /** Changes the words of a message that is not saved, and does not send it for now. */
  amend(id: string, body: string): void {
    const entry = this.#entry(id)
    if (entry !== undefined && body.trim() !== '') this.#put({ ...entry, body })
  }

  discard(id: string): void {
    this.#parts.outbox.remove(id)
    this.#parts.store.update((state) => ({
      ...state,
      outbox: state.outbox.filter((entry) => entry.id !== id),
    }))
  }

  /**
   * An event with an offset is as good as the reply, and often faster. One without says nothing of a commit: in the mode
   * `off` the page takes it for one, as a page without Lockstep does; in `observe` it waits for the reply.
   */
  settleByEvent({ operationId, offset, uncoordinated }: ShownMessage): void {
    if (operationId === undefined) return
    this.#parts.store.update((state) => ({
      ...state,
      timeline: changeOperation(state.timeline, operationId, ({ at }) => ({
        seenMs: Date.now() - at,
        ...(offset === undefined ? {} : { offset, state: 'committed' }),
        ...(uncoordinated === undefined ? {} : { uncoordinated }),
      })),
    }))
    const entry = this.#entry(operationId)
    if (entry === undefined) return
    if (offset !== undefined) return this.discard(operationId)
    if (entry.state.kind !== 'sending') return
    if (uncoordinated?.mode !== 'off') return this.#put({ ...entry, isShown: true })
    this.#put({ ...entry, state: { kind: 'believed' } })
  }

  /**
   * The client asks after a reload for what it remembers. What it does not remember, since its reply came just
   * before the page went, is called again: the same id has one effect and one outcome.
   */
  #askForForgotten(): () => void {
    const { backend, store } = this.#parts
    const sending = store.get().outbox.filter(({ state }) => state.kind === 'sending')
    const ids = new Set(sending.map(({ id }) => id))
    const timer = setTimeout(() => {
      for (const entry of store.get().outbox) {
        const { id, state } = entry
        const remembered = backend.operations.pending.some((pending) => pending.id === id)
        if (state.kind !== 'sending' || remembered || !ids.has(id)) continue
        void this.#call(entry)
      }
    }, askAgainAfterMs)
    return () => clearTimeout(timer)
  }

  /** Resolves when it is settled, whichever way. */
  async #call({ id, conversationId, body }: OutboxEntry): Promise<void> {
    try {
      const { backend } = this.#parts
      if (asksAssistant(body)) await backend.call('ask', { conversationId, question: body }, { id }).outcome
      else await backend.call('send_message', { conversationId, body }, { id }).outcome
    } catch (error) {
      this.#refused(id, error)
    }
  }

  #note({ id, body, sentAt }: OutboxEntry): void {
    this.#parts.store.update((state) => ({
      ...state,
      timeline: addEntry(state.timeline, {
        kind: 'operation',
        id,
        name: asksAssistant(body) ? 'ask' : 'send_message',
        summary: body,
        at: sentAt,
        state: 'open',
      }),
    }))
  }

  #settled(id: string, name: string, settled: Ended): void {
    if (settled.outcome === 'committed') {
      const offset = Object.values(settled.positions)[0]?.offset
      const position = offset === undefined ? {} : { offset }
      this.#timeline(id, { state: 'committed', ...position })
      const message = name === 'ask' ? this.#questionOf(id) : (settled.result as Message)
      if (message !== undefined)
        this.#parts.onCommitted({ ...message, operationId: id, isCommitted: true, ...position })
      this.discard(id)
      this.#askForEvidence(id)
      return
    }
    if (settled.outcome === 'rolled_back') {
      this.#rolledBack(id, settled.notice.userMessage, settled.notice.errorMessage)
      return
    }
    this.#timeline(id, { state: 'never_received' })
    this.#change(id, { kind: 'never_received' })
  }

  /** A question that has committed, until its event says the same; undefined where that has come. */
  #questionOf(id: string): Message | undefined {
    const entry = this.#entry(id)
    if (entry === undefined) return undefined
    const { conversationId, body, sortAt } = entry
    return { id, conversationId, author: this.#parts.user, body, createdAt: sortAt }
  }

  #rolledBack(id: string, text: string, detail: string): void {
    this.#timeline(id, { state: 'rolled_back', text: detail })
    this.#askForEvidence(id)
    const entry = this.#entry(id)
    // Keep a message that the page believes sent: it stays until the page is loaded again, and is then missing.
    if (entry === undefined || entry.state.kind === 'believed') return
    this.#change(id, { kind: 'rolled_back', text, detail })
    this.#parts.onRolledBack(entry)
  }

  /**
   * Asks for the server's measurements; in the mode `off` there are none, and in the other modes not of every message.
   */
  #askForEvidence(id: string): void {
    const ask = async ([afterMs, ...later]: readonly number[]): Promise<void> => {
      if (afterMs === undefined) return
      await new Promise((resolve) => setTimeout(resolve, afterMs))
      const { backend, store } = this.#parts
      const { evidence } = await backend.query('message_evidence', { operationId: id })
      if (evidence === null) return ask(later)
      store.update((state) => ({
        ...state,
        timeline: changeOperation(state.timeline, id, () => ({ evidence })),
      }))
    }
    // The page does well without.
    ask(evidenceAfterMs).catch(() => {})
  }

  /** The server answered that it will not run this: nothing was saved, and there is no notice. */
  #refused(id: string, error: unknown): void {
    // The page is going away, or the connection has ended for good: the client, or that of the next page, learns the
    // outcome.
    const isLater = ['LS_CLIENT_CLOSED', 'LS_CLIENT_OUTCOME_UNKNOWN']
    if (error instanceof LockstepClientError && isLater.includes(error.reason ?? '')) return
    // The client puts the error's code before its text.
    const text = error instanceof Error ? error.message : String(error)
    this.#timeline(id, { state: 'refused', text })
    this.#change(id, { kind: 'refused', text })
  }

  #timeline(id: string, change: Partial<TimelineOperation>): void {
    this.#parts.store.update((state) => ({
      ...state,
      timeline: changeOperation(state.timeline, id, ({ at, settledMs }) => ({
        settledMs: settledMs ?? Date.now() - at,
        ...change,
      })),
    }))
  }

  #entry(id: string): OutboxEntry | undefined {
    return this.#parts.store.get().outbox.find((entry) => entry.id === id)
  }

  #change(id: string, state: OutboxState): void {
    const entry = this.#entry(id)
    if (entry === undefined || entry.state.kind !== 'sending') return
    const changed = { ...entry, state }
    this.#put(changed)
    this.#parts.store.update((current) => ({ ...current, announcement: verdictOf(changed) }))
  }

  #put(entry: OutboxEntry): void {
    this.#parts.outbox.put(entry)
    this.#parts.store.update((state) => ({
      ...state,
      outbox: state.outbox.map((other) => (other.id === entry.id ? entry : other)),
    }))
  }

  #toast(id: string, text: string): void {
    this.#parts.store.update((state) => ({
      ...state,
      toasts: [...state.toasts.filter((toast) => toast.id !== id), { id, text }],
      announcement: text,
    }))
  }
}

/** True for the operations that send a message. */
function isSending(operation: string): boolean {
  return operation === 'send_message' || operation === 'ask'
}

/** State of a message, in words for its author. */
export function verdictOf({ state, isShown }: OutboxEntry): string {
  if (state.kind === 'sending') return 'Sending.'
  if (state.kind === 'believed') return 'Sent.'
  if (state.kind === 'never_received') return 'Never received. The server never got this message.'
  if (state.kind === 'refused') return `Not accepted. ${state.text}`
  const others = isShown ? 'Others saw it, and nobody tells them.' : 'Nobody else saw it.'
  return `Rolled back. ${state.text} ${others}`
}
