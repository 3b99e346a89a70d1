// Notes when calls of the crowd pass through a node. Patches classes in the node's own process, and nothing else.
import pg from 'pg'
import { WebSocket } from 'ws'
import { Admission } from '../../src/core/index.ts'
import { IntentWriter } from '../../src/transaction/intents/intent-writer.ts'
import { machineMs, StandstillWatch, type Moment, type Moments, type Trace } from './call-trace.ts'

/** All calls of abusers insert this number. */
const abusersNumber = 1

/** A query of `pg` as its client takes it. */
interface TakenQuery {
  readonly text?: string
  readonly values?: readonly unknown[]
  callback?: (...answer: unknown[]) => void
}

/** Follows each call of the crowd: a user of it has no second call on a node while the first is open. */
export class NodeTrace {
  readonly #standstills = new StandstillWatch()
  #calls = new Map<number, Moments>()
  /** Calls that have asked for a turn; which of their numbers is not known yet. */
  #byUser = new Map<string, Moments>()
  #bySocket = new WeakMap<object, Map<string, number>>()
  readonly #byClient = new WeakMap<object, Moments>()

  constructor() {
    watch(WebSocket, 'emit', (socket, [event, data]) => {
      if (event === 'message' && Buffer.isBuffer(data)) this.#arrives(socket, data)
    })
    watch(WebSocket, 'send', (socket, [text]) => this.#isAnswered(socket, text))
    watch(Admission, 'ask', undefined, ([user], turn) => this.#asks(String(user), turn))
    watch(IntentWriter, 'write', undefined, ([key], intent) => {
      const call = this.#byUser.get((key as { readonly userId: string }).userId)
      const noted = (): void => note(call, 'noted')
      if (call !== undefined) (intent as { readonly landed: Promise<boolean> }).landed.then(noted, noted)
    })
    watch(pg.Client, 'query', (client, [query]) => this.#isSent(client, query as TakenQuery))
  }

  /** The work of a call begins. @returns what to call once its statement was answered */
  runs(user: string, n: number): () => void {
    const call = this.#byUser.get(user)
    this.#byUser.delete(user)
    if (call === undefined) return () => {}
    Object.assign(call, this.#calls.get(n))
    this.#calls.set(n, call)
    return () => note(call, 'ran')
  }

  lap(): Trace {
    const calls = [...this.#calls]
    this.#calls = new Map()
    this.#byUser = new Map()
    return { calls, ...this.#standstills.lap() }
  }

  #arrives(socket: object, data: Buffer): void {
    if (data.length > 400) return
    const [, id = '', digits] =
      /^\{"id":(\d+),"rpc":\{"method":"send".*"n":(\d+)/.exec(data.toString('latin1')) ?? []
    const n = Number(digits)
    if (digits === undefined || n === abusersNumber) return
    this.#calls.set(n, { arrived: machineMs() })
    const asked = this.#bySocket.get(socket) ?? new Map<string, number>()
    this.#bySocket.set(socket, asked.set(id, n))
  }

  #isAnswered(socket: object, text: unknown): void {
    const asked = this.#bySocket.get(socket)
    if (asked === undefined || asked.size === 0 || typeof text !== 'string') return
    for (const [, id = ''] of text.matchAll(/^\{"id":(\d+)/gm)) {
      const n = asked.get(id)
      if (n !== undefined) note(this.#calls.get(n), 'replied')
      asked.delete(id)
    }
  }

  #asks(user: string, turn: unknown): void {
    if (user.startsWith('abuser')) return
    const call: Moments = { asked: machineMs() }
    this.#byUser.set(user, call)
    const { granted } = turn as { readonly granted?: Promise<void> }
    const isGranted = (): void => note(call, 'granted')
    if (granted === undefined) isGranted()
    else granted.then(isGranted, () => {})
  }

  /** A call's own statement leaves first, with BEGIN, and the flush with COMMIT next. */
  #isSent(client: object, query: TakenQuery): void {
    const call = this.#byClient.get(client)
    if (call !== undefined) {
      this.#byClient.delete(client)
      note(call, 'flushed')
      const { callback } = query
      query.callback = (...answer) => {
        note(call, 'committed')
        callback?.(...answer)
      }
    }
    if (query.text?.startsWith('insert into sends') !== true) return
    const begun = this.#calls.get(Number(query.values?.[2]))
    if (begun === undefined) return
    note(begun, 'began')
    this.#byClient.set(client, begun)
  }
}

function note(call: Moments | undefined, moment: Moment): void {
  if (call !== undefined) call[moment] ??= machineMs()
}

/** Calls `before` at the start of each call of a method, and `after` with its result. */
function watch(
  { prototype }: { readonly prototype: object },
  name: string,
  before?: (self: object, given: readonly unknown[]) => void,
  after?: (given: readonly unknown[], result: unknown) => void,
): void {
  const methods = prototype as Record<string, (...given: unknown[]) => unknown>
  const original = methods[name]
  if (original === undefined) throw new Error(`there is no ${name} to watch`)
  methods[name] = function (this: object, ...given: unknown[]) {
    before?.(this, given)
    const result = original.apply(this, given)
    after?.(given, result)
    return result
  }
}
