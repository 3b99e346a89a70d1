import type { Bus, BusHealth, BusPort } from '../../../src/bus/index.ts'
import type { TransientEvent } from '../../../src/feeds/index.ts'
import type { StoredEvent } from '../../../src/log/index.ts'
import type { Host, Scheduler } from '../scheduler.ts'
import type { Weather } from '../weather.ts'

/** Broker between the buses of all nodes: it loses, repeats, delays and reorders messages. */
export class ModelBroker {
  readonly members = new Set<ModelBus>()
  readonly scheduler: Scheduler
  readonly weather: Weather
  isDown = false

  constructor(scheduler: Scheduler, weather: Weather) {
    this.scheduler = scheduler
    this.weather = weather
  }

  /** Ends an outage, which some transports notice and some do not. */
  comeBack(isNoticed: boolean): void {
    this.isDown = false
    this.scheduler.note('bus', isNoticed ? 'is back' : 'is back, and nobody has noticed that it was away')
    if (isNoticed) for (const member of this.members) member.comeBack()
  }
}

/** A node's bus on the modelled broker. */
export class ModelBus implements Bus {
  readonly #host: Host
  readonly #broker: ModelBroker
  readonly #served = new Set<string>()
  #port: BusPort | undefined
  #scope = ''

  constructor(host: Host, broker: ModelBroker) {
    this.#host = host
    this.#broker = broker
  }

  get health(): BusHealth {
    return { kind: 'model', state: this.#broker.isDown ? 'down' : 'up' }
  }

  start(port: BusPort): Promise<void> {
    this.#port = port
    this.#scope = port.scope
    this.#broker.members.add(this)
    this.#host.onDeath(() => this.#broker.members.delete(this))
    return Promise.resolve()
  }

  publish(events: readonly StoredEvent[]): void {
    const { scheduler, weather, isDown, members } = this.#broker
    if (isDown || this.#host.isDead) return
    const scope = this.#scope
    for (const other of members) {
      if (other === this) continue
      for (const delayMs of weather.deliveries()) scheduler.after(delayMs, () => other.hear(scope, events))
    }
  }

  publishTransient(event: TransientEvent): void {
    const { scheduler, weather, isDown, members } = this.#broker
    if (isDown || this.#host.isDead) return
    for (const other of members) {
      if (other === this) continue
      for (const delayMs of weather.deliveries()) scheduler.after(delayMs, () => other.hearTransient(event))
    }
  }

  hearTransient(event: TransientEvent): void {
    this.#host.enter(() => {
      if (this.#served.has(event.channel)) this.#port?.transients([event])
    })
  }

  hear(scope: string, events: readonly StoredEvent[]): void {
    this.#host.enter(() => {
      const wanted = events.filter(({ channel }) => this.#served.has(channel))
      if (scope !== this.#scope || wanted.length === 0) return
      const { scheduler, weather } = this.#broker
      const names = wanted.map(({ channel, offset }) => `${channel}@${offset}`).join(' ')
      scheduler.note(this.#host.name, `hears ${names}`)
      if (weather.chance(0.1))
        this.#port?.heads(wanted.map(({ channel, offset }) => ({ channel, head: offset })))
      else this.#port?.events(wanted)
    })
  }

  comeBack(): void {
    this.#host.enter(() => this.#port?.missed())
  }

  serve(channel: string): void {
    this.#served.add(channel)
  }

  unserve(channel: string): void {
    this.#served.delete(channel)
  }

  follow(scope: string): void {
    this.#scope = scope
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
