import type { OutboxEntry, ShownMessage, Thread } from './types.ts'

/** Item of the message list: messages that arrived and the user's own unsettled ones, in one order. */
export type ThreadItem =
  | { readonly kind: 'shown'; readonly key: string; readonly message: ShownMessage }
  | { readonly kind: 'own'; readonly key: string; readonly entry: OutboxEntry }

export const emptyThread: Thread = { status: 'loading', messages: [], hasEarlier: false }

/** Adds messages, by id: a snapshot may overlap with events, and recovered events with both. */
export function mergeMessages(thread: Thread, added: readonly ShownMessage[]): Thread {
  const byId = new Map(thread.messages.map((message) => [message.id, message]))
  for (const message of added) {
    const before = byId.get(message.id)
    const isCommitted = message.isCommitted || before?.isCommitted === true
    byId.set(message.id, { ...before, ...message, isCommitted })
  }
  return { ...thread, status: 'ready', messages: [...byId.values()].toSorted(byTime) }
}

/**
 * Adds what was read from the newest message back. Where that does not reach what is here already, what lies between would
 * be missing, so the thread begins anew with it.
 */
export function mergeNewest(
  thread: Thread,
  { messages, hasEarlier }: Pick<Thread, 'messages' | 'hasEarlier'>,
): Thread {
  const read = new Set(messages.map(({ id }) => id))
  const isJoined = !hasEarlier || thread.messages.some(({ id }) => read.has(id))
  if (!isJoined) return { ...mergeMessages(emptyThread, messages), hasEarlier }
  const merged = mergeMessages(thread, messages)
  const isDeeper = merged.messages.find(({ isCommitted }) => isCommitted)?.id === messages[0]?.id
  return isDeeper ? { ...merged, hasEarlier } : merged
}

/**
 * The list for one conversation. An outbox entry whose commit has been seen is no longer shown twice; until then it stands
 * for a message that was shown early, since it says what has become of it.
 */
export function threadItems(thread: Thread, outbox: readonly OutboxEntry[]): readonly ThreadItem[] {
  const settled = new Set(thread.messages.filter(({ isCommitted }) => isCommitted).map(keyOf))
  const unsettled = outbox.filter(({ id, state }) => state.kind !== 'believed' && !settled.has(id))
  const own = unsettled.map((entry): ThreadItem & { sortAt: string } => ({
    kind: 'own',
    key: entry.id,
    entry,
    sortAt: entry.sortAt,
  }))
  const ids = new Set(unsettled.map((entry) => entry.id))
  const shown = thread.messages
    .filter((message) => !ids.has(keyOf(message)))
    .map((message): ThreadItem & { sortAt: string } => ({
      kind: 'shown',
      key: keyOf(message),
      message,
      sortAt: message.createdAt,
    }))
  return [...shown, ...own].toSorted((a, b) => compare(a.sortAt, b.sortAt))
}

/** A place after everything that is on the screen now, so that a message does not jump when it commits. */
export function sortAtEnd(thread: Thread, nowMs: number): string {
  const now = `${new Date(nowMs).toISOString().slice(0, -1)}000Z`
  const last = thread.messages.at(-1)?.createdAt ?? ''
  return last >= now ? `${last}~` : now
}

const keyOf = (message: ShownMessage): string => message.operationId ?? message.id

function byTime(a: ShownMessage, b: ShownMessage): number {
  return compare(a.createdAt, b.createdAt) || compare(a.id, b.id)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
