// Finds the COMMIT of an operation on its way to Postgres, and loses its reply in one of several ways.
import type { Interceptor, Link } from './proxy.ts'
import {
  firstParameterOfBind,
  MessageReader,
  statementOf,
  tagOf,
  textOfParse,
  textOfQuery,
  type Message,
} from './postgres-messages.ts'

/**
 * - `reply-lost`: COMMIT is carried out, its answer is swallowed, the client's side is reset. Committed.
 * - `dropped`: all before COMMIT arrives, COMMIT never does, both sides are reset. Rolled back.
 * - `slow-commit`: the client is reset at once, COMMIT arrives some time later. Committed.
 * - `slow-rollback`: the client is reset at once, the server's side some time later, without COMMIT. Rolled back.
 * - `late-flight`: the client is reset before the flush arrives; flush and COMMIT arrive later, when the operation
 *   may have been settled. Whoever comes first decides.
 * - `delayed`: COMMIT arrives late, and its reply is delivered: nothing is lost.
 */
export const commitFaultKinds = [
  'reply-lost',
  'dropped',
  'slow-commit',
  'slow-rollback',
  'late-flight',
  'delayed',
] as const

export type CommitFaultKind = (typeof commitFaultKinds)[number]

export interface CommitFault {
  readonly kind: CommitFaultKind
  /** Time before the COMMIT is carried out or sent, for the slow kinds. */
  readonly delayMs: number
}

/** Chooses a fault at the flush of every operation; undefined lets it pass. */
export type ChooseCommitFault = (operationId: string) => CommitFault | undefined

/** Faults that wait until the server has carried out the flush. */
const answersFlush: ReadonlySet<CommitFaultKind> = new Set(['dropped', 'slow-commit', 'slow-rollback'])
/** Flush message of the protocol, no relation of the flush above: the server sends the answers that it holds back. */
const flushMessage = Buffer.from([0x48, 0, 0, 0, 4])

/** Time that an answer to COMMIT is waited for after the client has gone. */
const answerTimeoutMs = 15_000

/** @param onListen the connection listens to notifications: the bus over the database has it */
export function interceptCommits(
  link: Link,
  choose: ChooseCommitFault,
  onListen: () => void = () => {},
): Interceptor {
  return new CommitInterceptor(link, choose, onListen)
}

class CommitInterceptor implements Interceptor {
  readonly #link: Link
  readonly #choose: ChooseCommitFault
  readonly #onListen: () => void
  readonly #fromClient = new MessageReader('client')
  readonly #fromServer = new MessageReader('server')
  /** Names of the statements that are the flush, prepared once for a connection; or the unnamed one. */
  readonly #flushes = new Set<string>()
  #fault: CommitFault | undefined
  #held: Buffer[] = []
  /** COMMIT and what follows it, up to the Sync that ends the flight. */
  #sinceCommit: Buffer[] | undefined
  #awaitsAnswer = false
  #answered = false
  #isFlushAnswered = false
  #onFlushAnswered: (() => void) | undefined
  /** The rest of this connection belongs to the fault. */
  #taken = false

  constructor(link: Link, choose: ChooseCommitFault, onListen: () => void) {
    this.#link = link
    this.#choose = choose
    this.#onListen = onListen
  }

  up(bytes: Buffer): void {
    const onward: Buffer[] = []
    for (const message of this.#fromClient.read(bytes)) {
      if (this.#taken) break
      if (!this.#takes(message, onward)) onward.push(message.bytes)
    }
    if (onward.length > 0) this.#link.pass('up', Buffer.concat(onward))
  }

  down(bytes: Buffer): void {
    const onward: Buffer[] = []
    for (const { type, body, bytes: whole } of this.#fromServer.read(bytes)) {
      if (this.#awaitsAnswer && (type === 'E' || (type === 'C' && /^(?:COMMIT|ROLLBACK)/.test(tagOf(body)))))
        this.#answered = true
      if (!this.#answered) onward.push(whole)
      else if (type === 'Z') return this.#end()
      const isAnswer = type === 'E' || (type === 'C' && tagOf(body).startsWith('SELECT'))
      if (isAnswer && this.#fault !== undefined) this.#flushAnswered()
    }
    if (onward.length > 0 && !this.#link.client.destroyed) this.#link.pass('down', Buffer.concat(onward))
  }

  clientGone(): boolean {
    return this.#taken
  }

  /** Returns whether the message was kept; messages may have been added to `onward`, or taken from it. */
  #takes(message: Message, onward: Buffer[]): boolean {
    const { type, body } = message
    if (type === 'Q' && textOfQuery(body).startsWith('listen ')) this.#onListen()
    if (type === 'P') {
      const isFlush = /\.flush_(?:operation|event)\(/.test(textOfParse(body))
      if (isFlush) this.#flushes.add(statementOf(message))
      else this.#flushes.delete(statementOf(message))
    } else if (type === 'B' && this.#flushes.has(statementOf(message))) {
      this.#fault = this.#choose(firstParameterOfBind(body))
      this.#isFlushAnswered = false
      this.#sinceCommit = undefined
    }
    if (this.#fault === undefined) return false
    if (type === 'P' && /^commit$/i.test(textOfParse(body))) this.#sinceCommit = []
    if (this.#sinceCommit !== undefined) {
      this.#sinceCommit.push(message.bytes)
      if (type === 'S') this.#commit(this.#fault, Buffer.concat(this.#sinceCommit), onward)
      return true
    }
    if (this.#fault.kind !== 'late-flight') return false
    this.#held.push(message.bytes)
    return true
  }

  /** @param commit the messages of COMMIT, and the Sync it shares with the flush */
  #commit(fault: CommitFault, commit: Buffer, onward: Buffer[]): void {
    const { client, server } = this.#link
    const later = (work: () => void): void => void setTimeout(work, fault.delayMs)
    this.#taken = fault.kind !== 'delayed'
    this.#awaitsAnswer = fault.kind !== 'delayed'
    // The server keeps its answer to the flush until it is asked for it.
    if (answersFlush.has(fault.kind)) onward.push(flushMessage)
    this.#flush(onward)
    switch (fault.kind) {
      case 'reply-lost':
        this.#link.pass('up', commit)
        break
      case 'dropped':
        this.#onFlushAnswered = () => this.#link.reset('both')
        break
      case 'slow-commit':
        this.#onFlushAnswered = () => {
          client.resetAndDestroy()
          later(() => this.#link.pass('up', commit))
        }
        break
      case 'slow-rollback':
        this.#onFlushAnswered = () => {
          client.resetAndDestroy()
          later(() => server.destroy())
        }
        break
      case 'late-flight':
        client.resetAndDestroy()
        later(() => this.#link.pass('up', Buffer.concat([...this.#held, commit])))
        break
      case 'delayed':
        this.#fault = undefined
        later(() => this.#link.pass('up', commit))
    }
    if (this.#isFlushAnswered) this.#flushAnswered()
    if (this.#taken) setTimeout(() => this.#end(), fault.delayMs + answerTimeoutMs).unref()
  }

  #flushAnswered(): void {
    this.#isFlushAnswered = true
    const act = this.#onFlushAnswered
    this.#onFlushAnswered = undefined
    act?.()
  }

  #flush(onward: Buffer[]): void {
    if (onward.length > 0) this.#link.pass('up', Buffer.concat(onward.splice(0)))
  }

  #end(): void {
    this.#link.client.resetAndDestroy()
    this.#link.server.destroy()
  }
}
