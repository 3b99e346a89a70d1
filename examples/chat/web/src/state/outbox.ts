import type { OutboxEntry } from './types.ts'

/**
 * Keeps one's own unsettled and rolled-back messages over a page reload: one key each, so that two tabs of the
 * same user do not overwrite one another.
 */
export interface OutboxStorage {
  load(): readonly OutboxEntry[]
  /** Finds an entry, also one that another page of the same user has put there. */
  find(id: string): OutboxEntry | undefined
  put(entry: OutboxEntry): void
  remove(id: string): void
}

const believedForMs = 24 * 3_600_000

export function createOutboxStorage(storage: Storage, user: string): OutboxStorage {
  const prefix = `lockstep-chat:outbox:${user}:`
  return {
    load() {
      const entries: OutboxEntry[] = []
      for (let index = 0; index < storage.length; index++) {
        const key = storage.key(index)
        if (key === null || !key.startsWith(prefix)) continue
        const entry = parse(storage.getItem(key))
        if (entry !== undefined) entries.push(entry)
      }
      // No news of what is believed comes so late.
      const isOld = ({ state, sentAt }: OutboxEntry): boolean =>
        state.kind === 'believed' && sentAt < Date.now() - believedForMs
      for (const { id } of entries.filter(isOld)) storage.removeItem(prefix + id)
      return entries.toSorted((a, b) => a.sentAt - b.sentAt)
    },
    find: (id) => parse(storage.getItem(prefix + id)),
    put(entry) {
      // Storage may be full or forbidden; the message then lives as long as the page.
      try {
        storage.setItem(prefix + entry.id, JSON.stringify(entry))
      } catch {}
    },
    remove(id) {
      storage.removeItem(prefix + id)
    },
  }
}

function parse(text: string | null): OutboxEntry | undefined {
  try {
    const entry = JSON.parse(text ?? '') as OutboxEntry
    return typeof entry.id === 'string' && typeof entry.body === 'string' ? entry : undefined
  } catch {
    return undefined
  }
}
