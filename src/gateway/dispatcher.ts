import type { UserContext } from '../core/index.ts'
import { limits as wire, replyCodes, reservedMethods, type RecoveryRequest } from '../protocol/index.ts'
import { Calls, costOfRefusal } from './calls.ts'
import type { ClientCommand } from './commands.ts'
import { Lane } from './lane.ts'
import { errorReply, invalidReply, reply } from './replies.ts'
import type { SessionContext } from './session-context.ts'
import { Subscriptions, type SubscriptionHost } from './subscription.ts'

/** The commands a dispatcher answers; the session answers the rest itself. */
export type UserCommand = Exclude<ClientCommand, { readonly kind: 'pong' | 'connect' | 'refresh' }>

/** Answers the commands of one connection whose user is known. */
export class Dispatcher {
  user: UserContext
  readonly #host: SubscriptionHost
  readonly #context: SessionContext
  readonly #subscriptions: Subscriptions
  /** Made by the first command: most connections only listen. */
  #lane: Lane | undefined
  #calls: Calls | undefined

  constructor(host: SubscriptionHost, context: SessionContext, user: UserContext) {
    this.user = user
    this.#host = host
    this.#context = context
    this.#subscriptions = new Subscriptions(host, context, user.id)
  }

  /**
   * Joins the user's own channel. Resolves to the `subs` of the ConnectResult as JSON text, and what to call once
   * that is on its way.
   * @throws what the event source throws
   */
  async joinOwn(
    subs: ReadonlyMap<string, RecoveryRequest> | undefined,
  ): Promise<{ readonly subs: string; readonly start: () => void }> {
    const channel = this.#subscriptions.ownChannel
    const { result, start } = await this.#subscriptions.joinOwn(subs?.get(channel))
    return { subs: `{${JSON.stringify(channel)}:${result}}`, start }
  }

  /** Calls of this connection are not answered yet. */
  get isBusy(): boolean {
    return this.#calls?.isBusy === true
  }

  dispatch(command: UserCommand): void {
    switch (command.kind) {
      case 'subscribe':
        return this.#enqueue(command.id, false, () =>
          this.#subscriptions.subscribe(this.user, command.id, command.request),
        )
      case 'unsubscribe':
        return this.#enqueue(command.id, true, () => this.#unsubscribe(command.id, command.channel))
      case 'rpc':
        this.#calls ??= new Calls(this.#host, this.#context.ports, this.#context.settings.limits)
        return this.#calls.call({ ...command, user: this.user })
      case 'ping':
        return this.#host.push(reply(command.id, 'ping'))
      case 'publish':
        return this.#host.push(errorReply(command.id, replyCodes.permissionDenied))
      case 'unavailable':
        return this.#host.push(errorReply(command.id, replyCodes.notAvailable))
      case 'unknown':
        return this.#host.push(errorReply(command.id, replyCodes.methodNotFound))
      case 'empty':
        return this.#host.push(errorReply(command.id, replyCodes.badRequest))
      case 'invalid':
        return this.#host.push(invalidReply(command))
      case 'send':
        this.#context.acknowledgements?.take(command.data, this.#subscriptions)
    }
  }

  revoke(channel: string): void {
    this.#subscriptions.revoke(channel)
  }

  async reauthorize(): Promise<void> {
    await this.#subscriptions.reauthorize(() => this.user)
  }

  /** The connection is gone: nothing is delivered from here on. */
  end(): void {
    this.#lane?.end()
    this.#subscriptions.endAll()
    this.#calls?.abort()
  }

  #enqueue(id: number, exclusive: boolean, run: () => Promise<() => void>): void {
    this.#lane ??= new Lane(this.#host, this.#context.ports.logger)
    if (this.#lane.length >= this.#context.settings.limits.maxPendingCommands) {
      this.#host.charge(costOfRefusal)
      return this.#host.push(errorReply(id, replyCodes.tooManyRequests))
    }
    this.#lane.add({ exclusive, run })
  }

  async #unsubscribe(id: number, channel: string): Promise<() => void> {
    return () => this.#subscriptions.unsubscribe(id, channel)
  }
}

/** A question for outcomes counts as one command for each id: each is looked for, and may become a row. */
export function costOf(command: ClientCommand): number {
  if (command.kind !== 'rpc' || command.method !== reservedMethods.outcomes) return 1
  const { ids } = Object(command.data) as { readonly ids?: unknown }
  return Array.isArray(ids) ? Math.min(Math.max(1, ids.length), wire.maxOutcomeIds) : 1
}
