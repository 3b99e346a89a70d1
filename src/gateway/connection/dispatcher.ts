import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { UserContext } from '../../core/index.ts'
import { limits as wire, reservedMethods, type RecoveryRequest } from '../../protocol/index.ts'
import { Calls, costOfRefusal } from './calls.ts'
import type { ClientCommand } from '../wire/commands.ts'
import { ReplyQueue } from './reply-queue.ts'
import { invalidReply, refusalReply, reply } from '../wire/replies.ts'
import type { SessionContext } from './session-context.ts'
import type { SubscriptionHost } from './subscription.ts'
import { ConnectionSubscriptions } from './connection-subscriptions.ts'

/** The commands a dispatcher answers; the session answers the rest itself. */
export type UserCommand = Exclude<ClientCommand, { readonly kind: 'pong' | 'connect' | 'refresh' }>

/** Answers the commands of one connection whose user is known. */
export class Dispatcher {
  user: UserContext
  readonly #host: SubscriptionHost
  readonly #context: SessionContext
  readonly #subscriptions: ConnectionSubscriptions
  /** Queue of replies, created by the first command: most connections only listen. */
  #replies: ReplyQueue | undefined
  #calls: Calls | undefined

  constructor(host: SubscriptionHost, context: SessionContext, user: UserContext) {
    this.user = user
    this.#host = host
    this.#context = context
    this.#subscriptions = new ConnectionSubscriptions(host, context, user.id)
  }

  /**
   * Joins the user's own channel. Resolves to the `subs` of the ConnectResult as JSON text, and what to call once
   * that is on its way.
   * @throws errors of the event source
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
        this.#calls ??= new Calls(
          this.#host,
          this.#context.ports,
          this.#context.settings.limits,
          this.#context.answerCosts,
        )
        return this.#calls.call({ ...command, user: this.user })
      case 'ping':
        return this.#host.push(reply(command.id, 'ping'))
      case 'publish':
        return this.#host.push(refusalReply(command.id, 'LS_COMMAND_FORBIDDEN'))
      case 'unavailable':
        return this.#host.push(refusalReply(command.id, 'LS_COMMAND_UNAVAILABLE'))
      case 'unknown':
        return this.#host.push(refusalReply(command.id, 'LS_METHOD_UNKNOWN'))
      case 'empty':
        return this.#host.push(refusalReply(command.id, 'LS_REQUEST_INVALID'))
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
    this.#replies?.end()
    this.#subscriptions.endAll()
    this.#calls?.abort()
  }

  #enqueue(id: number, exclusive: boolean, run: () => Promise<() => void>): void {
    this.#replies ??= new ReplyQueue(this.#host, this.#context.ports.logger)
    if (this.#replies.length >= this.#context.settings.limits.maxPendingCommands) {
      this.#host.charge(costOfRefusal)
      return this.#host.push(refusalReply(id, 'LS_TOO_MANY_REQUESTS'))
    }
    this.#replies.add({ exclusive, run })
  }

  async #unsubscribe(id: number, channel: string): Promise<() => void> {
    return () => this.#subscriptions.unsubscribe(id, channel)
  }
}

/** A question for outcomes counts as one command for each id: each is looked for, and may become a row. */
export function costOf(command: ClientCommand): number {
  if (command.kind !== 'rpc' || command.method !== reservedMethods.outcomes) return 1
  const { ids } = Object(command.data) as { readonly ids?: unknown }
  if (mutationPoint('question for outcomes paid as one command') && ids !== undefined) return 1
  return Array.isArray(ids) ? Math.min(Math.max(1, ids.length), wire.maxOutcomeIds) : 1
}
