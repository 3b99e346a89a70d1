import type { RingEntry } from '../../core/index.ts'
import { closeCodes, replyCodes } from '../../protocol/index.ts'
import { longestFrameBytes, type GatewaySettings } from '../contract/gateway-options.ts'
import type { ConnectedUser } from '../crowd/connections.ts'
import { Pace } from '../crowd/pace.ts'
import { ReadingTurns, type Reader } from '../crowd/reading-turns.ts'
import type { RefusalReason } from '../crowd/refusals.ts'
import type { Strain } from '../crowd/strain.ts'
import { decodeCommand, type ClientCommand } from '../wire/commands.ts'
import { readFirstMessage, type Connect } from '../wire/first-message.ts'
import { errorReply, refusalReply } from '../wire/replies.ts'
import { costOfRefusal } from './calls.ts'
import { costOf } from './dispatcher.ts'
import type { GatewaySocket } from './socket.ts'

export interface InboundOwner {
  /** The peer is connected, and its commands are carried out. */
  readonly isOpen: boolean
  carryOut(command: ClientCommand): void
  push(frame: string): void
  /** Closes the connection before it is any user's. */
  refuse(reason: RefusalReason, code: number, text: string): void
  /** Reading broke: `MalformedMessage` is the peer's doing, anything else is not. */
  failed(error: unknown): void
}

/** A message whose commands are being carried out. */
interface Reading {
  readonly lines: readonly string[]
  /** Index of the next one. */
  next: number
  readonly mayBeTooLong: boolean
}

/** Reads the messages of one peer, no faster than the pace of its user allows; what may not be read yet waits here. */
export class Inbound implements Reader {
  /** The state that all connections of the user share; absent until the user is known. */
  user: ConnectedUser | undefined
  readonly #socket: GatewaySocket
  readonly #owner: InboundOwner
  readonly #settings: GatewaySettings
  readonly #strain: Strain
  /** Place among the connections that wait for their user's pace; absent while this one is read. */
  #waiting: RingEntry<unknown> | undefined
  /** Message whose reading was interrupted by the user's pace. */
  #reading: Reading | undefined
  /**
   * Messages not begun yet: sent along with connect, or in the same packet as what used up the user's pace. The latter
   * is no more than one packet and the message that it ends.
   */
  #held:
    | { readonly messages: string[]; /** Counts a separator between two messages. */ length: number }
    | undefined

  constructor(socket: GatewaySocket, owner: InboundOwner, settings: GatewaySettings, strain: Strain) {
    this.#socket = socket
    this.#owner = owner
    this.#settings = settings
    this.#strain = strain
  }

  /** Whether the socket is not read for now. */
  get isPaused(): boolean {
    return this.#waiting !== undefined
  }

  /**
   * Reads the connect, and holds the rest of its message.
   * @returns undefined where the peer was refused
   */
  readFirst(message: string): Connect | undefined {
    const first = readFirstMessage(message, this.#settings.limits.maxConnectBytes)
    if (first === undefined) {
      this.#owner.refuse('too_large', closeCodes.messageTooLarge, 'connect is too large')
      return undefined
    }
    if (first.rest !== '') this.hold(first.rest)
    return first.connect
  }

  /** Keeps a message until the peer is connected. */
  hold(message: string): void {
    const length = this.#keep(message)
    if (length > longestFrameBytes(this.#settings.limits)) {
      this.#owner.refuse('too_large', closeCodes.messageTooLarge, 'too much before the reply to connect')
    }
  }

  /** Reads a message of a connected peer when its turn comes: `pause` stops the socket, and not the messages of a packet that was read already. */
  read(message: string): void {
    if (this.#waiting === undefined && this.#held === undefined) this.#begin(message)
    else this.#keep(message)
  }

  /** Reads what was sent along with connect. */
  connected(): void {
    // A user who comes again still owes what their last connection sent too fast.
    if (this.user?.pace !== undefined) this.charge(0)
    if (this.#waiting === undefined) this.#readHeld()
  }

  /** Counts commands of the user, and reads this connection no further when they were too many lately. */
  charge(cost: number): void {
    const { user } = this
    if (user === undefined) return
    const { clock } = this.#settings
    const now = clock.monotonic()
    user.pace ??= new Pace(this.#strain, now)
    if (user.pace.charge(cost, now) === 0 || this.#waiting !== undefined || !this.#owner.isOpen) return
    user.turns ??= new ReadingTurns(user.pace, clock)
    this.#socket.pause()
    this.#waiting = user.turns.wait(this)
  }

  readOn(): void {
    this.#waiting = undefined
    if (this.#owner.isOpen) this.#readHeld()
    // Resume a connection that was closed meanwhile, too: the peer's answer to the close has to be read.
    if (this.#waiting === undefined) this.#socket.resume()
  }

  /** Forgets what was not read. */
  forget(): void {
    this.#held = undefined
    this.#reading = undefined
  }

  /** Reads no more commands; the owner is not open any more. */
  end(): void {
    this.forget()
    this.#waiting?.leave()
    if (this.#waiting !== undefined) this.readOn()
  }

  /** @returns the length of what is kept by now */
  #keep(message: string): number {
    const held = (this.#held ??= { messages: [], length: -1 })
    held.messages.push(message)
    held.length += 1 + message.length
    return held.length
  }

  #readHeld(): void {
    const begun = this.#reading
    if (begun !== undefined) this.#guarded(() => this.#readLines(begun))
    while (this.#waiting === undefined) {
      const message = this.#held?.messages.shift()
      if (message === undefined) {
        this.#held = undefined
        return
      }
      this.#guarded(() => this.#begin(message))
    }
  }

  #guarded(read: () => void): void {
    try {
      read()
    } catch (error) {
      this.#owner.failed(error)
    }
  }

  #begin(message: string): void {
    // A character is at most three bytes: only a long message has its lines measured.
    const mayBeTooLong = message.length * 3 > this.#settings.limits.maxMessageBytes
    // A newline may end a command, too.
    const lines = message.includes('\n') ? message.split('\n').filter((line) => line !== '') : [message]
    this.#reading = { lines, next: 0, mayBeTooLong }
    this.#readLines(this.#reading)
  }

  /** Reads lines until all are read, or the user's pace is used up. */
  #readLines(reading: Reading): void {
    const { maxCommandsPerMessage, maxMessageBytes } = this.#settings.limits
    for (; this.#waiting === undefined; reading.next += 1) {
      const line = reading.lines[reading.next]
      if (line === undefined || !this.#owner.isOpen) {
        this.#reading = undefined
        return
      }
      const command = decodeCommand(line)
      if (reading.next >= maxCommandsPerMessage)
        this.#refuse(command, (id) => refusalReply(id, 'LS_TOO_MANY_REQUESTS'))
      else if (reading.mayBeTooLong && Buffer.byteLength(line) > maxMessageBytes) this.#refuseTooLong(command)
      else this.#carryOut(command)
    }
  }

  #refuseTooLong(command: ClientCommand): void {
    const text = `LS_MESSAGE_TOO_LARGE: A command may be ${this.#settings.limits.maxMessageBytes} bytes long.`
    this.#refuse(command, (id) => errorReply(id, replyCodes.limitExceeded, text))
  }

  #refuse(command: ClientCommand, answer: (id: number) => string): void {
    this.charge(costOfRefusal)
    if ('id' in command) this.#owner.push(answer(command.id))
  }

  #carryOut(command: ClientCommand): void {
    const cost = costOf(command)
    this.charge(cost)
    // Leave out what a page sends by itself, because it was pinged or was shown an event.
    if (command.kind !== 'pong' && command.kind !== 'send')
      this.user?.pace?.noteAsked(cost, this.#settings.clock.monotonic())
    this.#owner.carryOut(command)
  }
}
