// Searches every byte that a subscriber receives for marks, and notes their owners. The checker decides whether they
// may be there.
import { WebSocket } from 'ws'
import type { History } from './history.ts'
import { marks } from './places.ts'

export class MarkWatch {
  readonly #history: History
  readonly #name: string
  readonly #owners = new Set<string>()
  #found = 0

  /** @param entitled owners of all marks that may be seen here */
  constructor(history: History, name: string, entitled: readonly string[]) {
    this.#history = history
    this.#name = name
    history.add({ kind: 'member', name, entitled })
  }

  readonly see = (text: string): void => {
    for (const [, owner = ''] of text.matchAll(marks)) {
      this.#found += 1
      if (this.#owners.has(owner)) continue
      this.#owners.add(owner)
      this.#history.add({ kind: 'mark', name: this.#name, owner })
    }
  }

  /** Notes the total number of marks. */
  close(): void {
    this.#history.add({ kind: 'searched', name: this.#name, marks: this.#found })
  }

  /** A socket class for clients that open their own. */
  get websocket(): unknown {
    const { see } = this
    return class extends WebSocket {
      constructor(...args: ConstructorParameters<typeof WebSocket>) {
        super(...args)
        this.on('message', (data: Buffer) => see(data.toString()))
        this.on('close', (_code, reason) => see(reason.toString()))
      }
    }
  }
}
