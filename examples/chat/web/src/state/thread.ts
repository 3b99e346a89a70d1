import type { CommittedMessage, OutboxEntry, Thread } from './types.ts'

/** What the message list shows: committed messages and one's own unsettled ones, in one order. */
export type ThreadItem =
  | { readonly kind: 'committed'; readonly key: string; readonly message: CommittedMessage }
  | { readonly kind: 'own'; readonly key: string; readonly entry: OutboxEntry }

export const emptyThread: Thread = { status: 'loading', messages: [] }

/** Adds messages, by id: a snapshot may overlap with events, and recovered events with both. */
export function mergeMessages(thread: Thread, added: readonly CommittedMessage[]): Thread {
  const byId = new Map(thread.messages.map((message) => [message.id, message]))
  for (const message of added) byId.set(message.id, { ...byId.get(message.id), ...message })
  return { status: 'ready', messages: [...byId.values()].toSorted(byTime) }
}

/** The list for one conversation. An outbox entry whose commit has been seen is no longer shown twice. */
export function threadItems(thread: Thread, outbox: readonly OutboxEntry[]): readonly ThreadItem[] {
  const committed = thread.messages.map((message): ThreadItem & { sortAt: string } => ({
    kind: 'committed',
    key: message.operationId ?? message.id,
    message,
    sortAt: message.createdAt,
  }))
  const seen = new Set(committed.map((item) => item.key))
  const own = outbox
    .filter((entry) => !seen.has(entry.id))
    .map((entry): ThreadItem & { sortAt: string } => ({
      kind: 'own',
      key: entry.id,
      entry,
      sortAt: entry.sortAt,
    }))
  return [...committed, ...own].toSorted((a, b) => compare(a.sortAt, b.sortAt))
}

/** A place after everything that is on the screen now, so that a message does not jump when it commits. */
export function sortAtEnd(thread: Thread, nowMs: number): string {
  const now = `${new Date(nowMs).toISOString().slice(0, -1)}000Z`
  const last = thread.messages.at(-1)?.createdAt ?? ''
  return last >= now ? `${last}~` : now
}

function byTime(a: CommittedMessage, b: CommittedMessage): number {
  return compare(a.createdAt, b.createdAt) || compare(a.id, b.id)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
