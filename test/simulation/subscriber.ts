import { limits, type StreamPosition } from '../../src/protocol/index.ts'
import { shownType } from './shown-part.ts'
import type { FeedEvent, Joined, Subscriber, TransientEvent } from '../../src/feeds/index.ts'
import type { SimulatedNode } from './node.ts'
import type { World } from './world.ts'

/** Subscriber of one channel, on whichever node there is, who remembers their position. */
export class SimulatedSubscriber {
  readonly name: string
  readonly channel: string
  position: StreamPosition | undefined
  readonly #world: World
  #connection: Connection | undefined

  constructor(name: string, channel: string, world: World) {
    this.name = name
    this.channel = channel
    this.#world = world
  }

  /** The subscriber has a live connection, and is shown new events. */
  get isListening(): boolean {
    return this.#connection?.isLive === true
  }

  connect(): void {
    const { scheduler, random } = this.#world
    const node = this.#world.pickNode()
    if (node === undefined) return void scheduler.after(200, () => this.connect())
    const connection = new Connection(this, node, this.#world)
    this.#connection = connection
    node.host.onDeath(() => this.connectAgain(connection))
    this.#world.inside(node, () => connection.join())
    const staysMs = random.between(500, 9_000)
    scheduler.after(staysMs, () => {
      if (this.#world.isCalm || this.#connection !== connection) return
      connection.leave()
      this.connectAgain(
        connection,
        random.chance(0.2) ? random.between(5_000, 12_000) : random.between(1, 2_000),
      )
    })
  }

  connectAgain(after: Connection, inMs = 100): void {
    if (this.#connection !== after) return
    this.#connection = undefined
    this.#world.scheduler.after(inMs, () => this.connect())
  }
}

class Connection implements Subscriber {
  readonly #owner: SimulatedSubscriber
  readonly #node: SimulatedNode
  readonly #world: World
  #joined: Joined | undefined
  /** The node was told of the end, or has ended the connection by itself. */
  #hasLeft = false
  /** The owner has left this connection for another. */
  #isGone = false
  isLive = false

  constructor(owner: SimulatedSubscriber, node: SimulatedNode, world: World) {
    this.#owner = owner
    this.#node = node
    this.#world = world
  }

  join(): void {
    const { channel, position } = this.#owner
    const request = position === undefined ? {} : { recoverFrom: position }
    const joining = this.#node.hub.join(channel, request, this)
    joining.then(
      (joined) => this.#reply(joined, position),
      () => this.#again(),
    )
  }

  leave(): void {
    this.#isGone = true
    this.isLive = false
    this.#world.inside(this.#node, () => {
      this.#hasLeft = true
      this.#joined?.leave()
    })
  }

  deliver(events: readonly FeedEvent[]): void {
    if (this.#node.host.isDead) return
    if (this.#hasLeft)
      this.#world.verdict.broken('order', `${this.#owner.name} is shown events after it has left`)
    else if (!this.#isGone) this.#take(events)
  }

  deliverTransient({ type, channel, operationId, userId, data }: TransientEvent): void {
    if (this.#node.host.isDead || this.#isGone) return
    if (type === shownType) this.#world.calls.shown(data, channel)
    else if (userId !== undefined) this.#world.calls.toldFromMemory(operationId, userId)
  }

  reset(): void {
    if (this.#node.host.isDead) return
    this.isLive = false
    this.#hasLeft = true
    this.#world.scheduler.note(this.#owner.name, `is told by ${this.#node.host.name} to start over`)
    this.#again()
  }

  #again(): void {
    if (!this.#node.host.isDead) this.#owner.connectAgain(this)
  }

  /** Replies when the turn has come, as a connection of the gateway does: events come meanwhile. */
  #reply(joined: Joined, asked: StreamPosition | undefined): void {
    this.#joined = joined
    this.#node.host.clock.after(this.#world.weather.turnMs(), () => this.#start(joined, asked))
  }

  #start(joined: Joined, asked: StreamPosition | undefined): void {
    if (this.#node.host.isDead) return
    if (this.#hasLeft || this.#isGone) return joined.leave()
    if (joined.wasReset) {
      joined.leave()
      return this.#again()
    }
    const { name } = this.#owner
    const { scheduler, counts } = this.#world
    const at = `${scheduler.nameOf('epoch', joined.position.epoch)}:${joined.position.offset}`
    scheduler.note(name, `is ${joined.kind} on ${this.#node.host.name} at ${at}`)
    counts[joined.kind] += 1
    if (joined.kind === 'recovered' && asked !== undefined) this.#recover(joined, asked)
    else if (joined.kind === 'unrecoverable' && asked !== undefined) this.#assertLost(asked, joined.position)
    this.#owner.position = joined.position
    this.isLive = true
    joined.start()
  }

  #recover({ position, missed }: Joined, asked: StreamPosition): void {
    const { verdict } = this.#world
    const { name } = this.#owner
    if (asked.epoch !== position.epoch) verdict.broken('order', `${name} is recovered into another epoch`)
    this.#take(missed)
    const { offset } = this.#owner.position ?? asked
    if (offset !== position.offset)
      verdict.broken(
        'order',
        `${name} is recovered up to ${position.offset}, and was given events up to ${offset}`,
      )
  }

  /** Asserts that the missed events are gone from the log, or belong to another history. */
  #assertLost(asked: StreamPosition, now: StreamPosition): void {
    const { server, verdict } = this.#world
    if (asked.epoch !== now.epoch || asked.epoch !== server.state.epoch || server.state.isOther) return
    const { channel, name } = this.#owner
    const isThere = (server.state.trimmed.get(channel) ?? 0) <= asked.offset
    const missing = now.offset - asked.offset
    if (isThere && missing >= 0 && missing <= limits.recoveryPage)
      verdict.broken(
        'reload',
        `${name} has to reload ${channel} behind ${asked.offset}, where all is to be had`,
      )
  }

  #take(events: readonly FeedEvent[]): void {
    const { server, verdict, scheduler, counts } = this.#world
    for (const event of events) {
      const { position = { offset: 0, epoch: '' }, channel, name } = this.#owner
      const { offset, operationId } = event
      if (offset !== position.offset + 1)
        verdict.broken('order', `${name} stands at ${position.offset} of ${channel} and is shown ${offset}`)
      if (server.eventAt(position.epoch, channel, offset) !== operationId)
        verdict.broken('phantom', `${name} is shown ${channel}@${offset}, which the log has not`)
      this.#owner.position = { offset, epoch: position.epoch }
      counts.deliveries += 1
      scheduler.note(name, `is shown ${channel}@${offset}`)
    }
  }
}
