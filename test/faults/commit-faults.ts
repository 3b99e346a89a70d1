// Finds the COMMIT of an operation on its way to Postgres, and loses its reply in one of several ways.
import type { Interceptor, Link } from './proxy.ts'
import {
  firstParameterOfBind,
  MessageReader,
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
  /** For the slow kinds. */
  readonly delayMs: number
}

/** Asked at the flush of every operation; undefined lets it pass. */
export type ChooseCommitFault = (operationId: string) => CommitFault | undefined

/** How long an answer to COMMIT is waited for after the client has gone. */
const answerTimeoutMs = 15_000

export function interceptCommits(link: Link, choose: ChooseCommitFault): Interceptor {
  return new CommitInterceptor(link, choose)
}

class CommitInterceptor implements Interceptor {
  readonly #link: Link
  readonly #choose: ChooseCommitFault
  readonly #fromClient = new MessageReader('client')
  readonly #fromServer = new MessageReader('server')
  #flushParsed = false
  #fault: CommitFault | undefined
  #held: Buffer[] = []
  #awaitsAnswer = false
  #answered = false
  /** The rest of this connection belongs to the fault. */
  #taken = false

  constructor(link: Link, choose: ChooseCommitFault) {
    this.#link = link
    this.#choose = choose
  }

  up(bytes: Buffer): void {
    const onward: Buffer[] = []
    for (const message of this.#fromClient.read(bytes)) {
      if (this.#taken) break
      if (!this.#takes(message, onward)) onward.push(message.bytes)
    }
    if (onward.length > 0) this.#link.pass('up', Buffer.concat(onward))
    if (this.#awaitsAnswer && !this.#taken) this.#taken = true
  }

  down(bytes: Buffer): void {
    if (!this.#taken) {
      // Kept in step, so that the answer to a COMMIT can be told from what came before it.
      for (const _ of this.#fromServer.read(bytes));
      return this.#link.pass('down', bytes)
    }
    const onward: Buffer[] = []
    for (const { type, body, bytes: whole } of this.#fromServer.read(bytes)) {
      if (type === 'C' && /^(?:COMMIT|ROLLBACK)/.test(tagOf(body))) this.#answered = true
      if (!this.#answered) onward.push(whole)
      else if (type === 'Z') return this.#end()
    }
    if (onward.length > 0 && !this.#link.client.destroyed) this.#link.pass('down', Buffer.concat(onward))
  }

  clientGone(): boolean {
    return this.#taken
  }

  /** Whether the message was kept; `onward` may have been added to or emptied. */
  #takes(message: Message, onward: Buffer[]): boolean {
    const { type, body } = message
    if (type === 'P') {
      this.#flushParsed = textOfParse(body).includes('.flush_operation(')
    } else if (type === 'B' && this.#flushParsed) {
      this.#flushParsed = false
      this.#fault = this.#choose(firstParameterOfBind(body))
    } else if (type === 'Q' && this.#fault !== undefined && /^commit$/i.test(textOfQuery(body))) {
      return this.#commit(this.#fault, message, onward)
    }
    if (this.#fault?.kind !== 'late-flight') return false
    this.#held.push(message.bytes)
    return true
  }

  #commit(fault: CommitFault, message: Message, onward: Buffer[]): boolean {
    const { server } = this.#link
    switch (fault.kind) {
      case 'reply-lost':
        this.#awaitsAnswer = true
        this.#giveUpLater()
        return false
      case 'dropped':
        this.#taken = true
        this.#flush(onward)
        // What was written is sent first; then the connection is gone, without a word.
        server.end()
        this.#link.client.resetAndDestroy()
        break
      case 'slow-commit':
      case 'late-flight':
        this.#taken = true
        this.#flush(onward)
        this.#held.push(message.bytes)
        this.#link.client.resetAndDestroy()
        setTimeout(() => this.#link.pass('up', Buffer.concat(this.#held)), fault.delayMs)
        this.#giveUpLater(fault.delayMs)
        break
      case 'slow-rollback':
        this.#taken = true
        this.#flush(onward)
        this.#link.client.resetAndDestroy()
        setTimeout(() => server.destroy(), fault.delayMs)
        break
      case 'delayed':
        this.#fault = undefined
        this.#flush(onward)
        setTimeout(() => this.#link.pass('up', message.bytes), fault.delayMs)
    }
    return true
  }

  #flush(onward: Buffer[]): void {
    if (onward.length > 0) this.#link.pass('up', Buffer.concat(onward.splice(0)))
  }

  #giveUpLater(delayMs = 0): void {
    setTimeout(() => this.#end(), delayMs + answerTimeoutMs).unref()
  }

  #end(): void {
    this.#link.client.resetAndDestroy()
    this.#link.server.destroy()
  }
}
