import type { OutboxEntry } from './types.ts'

/**
 * Keeps one's own unsettled and rolled-back messages over a page reload: one key each, so that two tabs of the
 * same user do not overwrite one another.
 */
export interface OutboxStorage {
  load(): readonly OutboxEntry[]
  put(entry: OutboxEntry): void
  remove(id: string): void
}

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
      return entries.toSorted((a, b) => a.sentAt - b.sentAt)
    },
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
