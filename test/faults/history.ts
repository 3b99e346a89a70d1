// History of a run as the driver saw it: a line for each call, reply, delivery and fault, in the order they happened,
// on the driver's own monotonic clock.
import { createWriteStream, type WriteStream } from 'node:fs'
import { once } from 'node:events'

/** How an operation ended, as its user is notified. `refused`: not accepted, so without effect. */
export type Told = 'committed' | 'rolled_back' | 'never_received' | 'refused'

/** Identifies a send of an operation: the call itself, or a copy that another client sent. */
interface Send {
  readonly id: string
  readonly client: string
  /** The send was made by hand with the same id and input, beside the client that remembers its operations. */
  readonly copy?: boolean
}

/** Position of a subscriber in a channel. */
interface Placing {
  readonly subscriber: string
  readonly channel: string
  readonly offset: number
  /** Epoch of the history that the offset belongs to, where the subscriber notes it. */
  readonly epoch?: string
}

export type HistoryEntry =
  | (Send & {
      readonly kind: 'invoke'
      readonly user: string
      /** Channel of each of its events, in order. */
      readonly channels: readonly string[]
      /** Text that tells this input from others that were sent with the same id. */
      readonly note: string
    })
  /** The reply says committed. */
  | (Send & {
      readonly kind: 'ok'
      /** Text of the reply, for comparing replies with each other. */
      readonly reply: string
      /** Note of the input that the result was made from. */
      readonly note: string
      /** Offset of the operation's last event by channel, as the reply names it. */
      readonly positions: Readonly<Record<string, number>>
    })
  /** The reply says that the call had no effect. */
  | (Send & {
      readonly kind: 'fail'
      readonly told: Exclude<Told, 'committed'>
      readonly reply?: string
      /** The notice was made while the database was away; the durable one follows. */
      readonly transient?: boolean
      /** Words of the notice; absent where there is none. */
      readonly words?: string
    })
  /** No reply: unknown. */
  | (Send & { readonly kind: 'info'; readonly why: string })
  /**
   * The operation's intent was seen in the database, which did not crash afterwards: the operation was accepted for
   * sure.
   */
  | { readonly kind: 'noted'; readonly id: string }
  /** The application's own callback for the end of an operation. */
  | {
      readonly kind: 'outcome'
      readonly id: string
      readonly client: string
      readonly told: Told
      readonly transient?: boolean
    }
  /** The application's own callback for notices. */
  | {
      readonly kind: 'notice'
      readonly id: string
      readonly client: string
      /** Counts the reloads of the client's page. */
      readonly page: number
      readonly transient?: boolean
      readonly words: string
    }
  /** A subscriber joined a channel, and is owed all events after `offset`. */
  | (Placing & { readonly kind: 'join' })
  /** A subscriber was told that it missed events: it reloads, and goes on after `offset`. */
  | (Placing & { readonly kind: 'reset' })
  /** A subscriber came back and was told that it has missed nothing, or was given the events it had missed. */
  | (Placing & { readonly kind: 'resume' })
  | {
      readonly kind: 'deliver'
      readonly subscriber: string
      readonly channel: string
      readonly offset: number
      readonly type: string
      readonly id: string
      /** JSON text of the event's data. */
      readonly data: string
    }
  /** A push without an offset is no fact: only a rollback reported from memory may come so. */
  | {
      readonly kind: 'unplaced'
      readonly subscriber: string
      readonly channel: string
      readonly type: string
      readonly id: string
    }
  /** An event at its first delivery; the runs of its channel stand for further deliveries of exactly this text. */
  | {
      readonly kind: 'payload'
      readonly channel: string
      readonly offset: number
      readonly type: string
      readonly id: string
      /** JSON text of the event's data. */
      readonly data: string
    }
  /** Deliveries of all offsets from `from` to `to`, in this order. Written when the run is over. */
  | {
      readonly kind: 'run'
      readonly subscriber: string
      readonly channel: string
      readonly from: number
      readonly to: number
    }
  /** Subscriber whose bytes are searched for marks, and the owners whose marks may be there. */
  | { readonly kind: 'member'; readonly name: string; readonly entitled: readonly string[] }
  /** First mark of this owner among the bytes that a subscriber received. */
  | { readonly kind: 'mark'; readonly name: string; readonly owner: string }
  /** Number of marks that a subscriber received, repeats included. */
  | { readonly kind: 'searched'; readonly name: string; readonly marks: number }
  /** Bytes that the nodes heard from the bus, where a proxy stands on its way. */
  | { readonly kind: 'bus'; readonly bytesHeard: number }
  /** A read that began after the subscriber had received the event: whether it saw the operation's row. */
  | { readonly kind: 'read'; readonly id: string; readonly subscriber: string; readonly found: boolean }
  /** The start of a run, or its stop, was acknowledged. @param at milliseconds of Unix time */
  | { readonly kind: 'job'; readonly what: 'started' | 'stopped'; readonly run: string; readonly at: number }
  | { readonly kind: 'fault'; readonly fault: string; readonly id?: string; readonly detail?: string }
  /** The faults are over. */
  | { readonly kind: 'healed' }
  /** Things still wrong when the time for recovery was over; none when all had recovered. */
  | { readonly kind: 'recovered'; readonly afterMs: number; readonly missing: readonly string[] }

export type HistoryLine = HistoryEntry & {
  /** Milliseconds on the driver's monotonic clock. */
  readonly t: number
}

export interface History {
  readonly lines: readonly HistoryLine[]
  add(entry: HistoryEntry): void
  /** Writes the lines that are still in memory. */
  close(): Promise<void>
}

/** @param path file for the JSON lines; without it they are kept in memory only */
export function createHistory(path?: string): History {
  const lines: HistoryLine[] = []
  const file: WriteStream | undefined = path === undefined ? undefined : createWriteStream(path)
  return {
    lines,
    add(entry) {
      const line: HistoryLine = { t: Math.round(performance.now() * 1_000) / 1_000, ...entry }
      lines.push(line)
      file?.write(`${JSON.stringify(line)}\n`)
    },
    async close() {
      if (file === undefined) return
      file.end()
      await once(file, 'close')
    },
  }
}
