import { detach, type Logger } from '../../core/index.ts'

/** Work whose replies go out in the order in which the commands came. */
export interface ReplyTask {
  /** Waits for all before it, and all behind it wait for it. */
  readonly exclusive: boolean
  /** Makes the reply; must not reject. Resolves to the work that is due when its turn to reply has come. */
  run(): Promise<() => void>
}

/** The peer that the replies go to. */
export interface ReplyPeer {
  /** True while the peer has not taken enough of its frames for another reply. */
  isBehind(): boolean
  /** Calls `work` once it has taken all of it; never, when the connection ends before. */
  onceTaken(work: () => void): void
}

interface Entry {
  readonly task: ReplyTask
  finish: (() => void) | undefined
}

/** How many tasks of one connection run at a time. */
const width = 16

/**
 * Runs the subscribes of one connection side by side, and answers them in order. An `exclusive` task, such as an
 * unsubscribe, sees everything before it done. Where the peer takes replies more slowly than they are made, as in a long
 * recovery, they wait for the peer, and nothing further is read from the log meanwhile.
 */
export class ReplyQueue {
  readonly #peer: ReplyPeer
  readonly #logger: Logger
  readonly #entries: Entry[] = []
  #started = 0
  #isHeld = false

  constructor(peer: ReplyPeer, logger: Logger) {
    this.#peer = peer
    this.#logger = logger
  }

  get length(): number {
    return this.#entries.length
  }

  add(task: ReplyTask): void {
    this.#entries.push({ task, finish: undefined })
    this.#pump()
  }

  /** Forgets all of it: what waits is not begun, and nobody replies to what runs. */
  end(): void {
    this.#entries.length = 0
    this.#started = 0
  }

  #pump(): void {
    if (this.#isHeld) return
    while (this.#started < Math.min(this.#entries.length, width)) {
      const entry = this.#entries[this.#started]
      const behind = this.#started > 0
      if (entry === undefined || (behind && (entry.task.exclusive || this.#entries[0]?.task.exclusive)))
        return
      this.#started += 1
      detach(this.#run(entry), this.#logger, 'a subscribe')
    }
  }

  async #run(entry: Entry): Promise<void> {
    entry.finish = await entry.task.run()
    this.#settle()
  }

  #settle(): void {
    if (this.#isHeld) return
    for (let head = this.#entries[0]; head?.finish !== undefined; head = this.#entries[0]) {
      if (this.#peer.isBehind()) return this.#hold()
      this.#entries.shift()
      this.#started -= 1
      head.finish()
    }
    this.#pump()
  }

  #hold(): void {
    this.#isHeld = true
    this.#peer.onceTaken(() => detach(this.#goOn(), this.#logger, 'replies that waited'))
  }

  async #goOn(): Promise<void> {
    this.#isHeld = false
    this.#settle()
  }
}
