import { userChannel, type OperationReport, type LayerReport } from '../../core/index.ts'

/** Ids that more than one user has an operation under; nobody but an attacker makes many. */
const mostShared = 1_024
const mostOfOneId = 16

/**
 * Remembers how the last operations of this node ended, between one and two times `generation` of them. Users may use
 * the same id, each for an operation of their own.
 */
export class EndedOperations {
  readonly #generation: number
  #young = new Map<string, OperationReport>()
  #old = new Map<string, OperationReport>()
  /** Ends of the second user of an id, and of further ones. */
  readonly #others = new Map<string, OperationReport[]>()

  constructor(generation: number) {
    this.#generation = generation
  }

  /** False when the end of that user's operation is there. */
  add(report: OperationReport): boolean {
    const id = report.operationId
    const first = this.#young.get(id) ?? this.#old.get(id)
    if (first !== undefined) return first.userId !== report.userId && this.#addOther(report)
    this.#young.set(id, report)
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young
      this.#young = new Map()
    }
    return true
  }

  /** The end of the operation that has shown what the report tells of. */
  of(report: LayerReport): OperationReport | undefined {
    const id = report.operationId
    const first = this.#young.get(id) ?? this.#old.get(id)
    if (first === undefined || isOf(report, first)) return first
    return this.#others.get(id)?.find((ended) => isOf(report, ended))
  }

  #addOther(report: OperationReport): boolean {
    const others = this.#others.get(report.operationId) ?? []
    if (others.some(({ userId }) => userId === report.userId)) return false
    // The log still knows what is forgotten here.
    if (this.#others.size >= mostShared) this.#others.clear()
    this.#others.set(report.operationId, [...others, report].slice(-mostOfOneId))
    return true
  }
}

const userPrefix = userChannel('')

/**
 * Whether what a report tells of is that operation's, and not of another one with the same id. An event is its
 * operation's by its place in the log; a user's own channel shows what is theirs.
 */
export function isOf({ userId, channel, offset }: LayerReport, ended: OperationReport): boolean {
  if (userId !== undefined) return userId === ended.userId
  if (channel === undefined) return true
  if (channel.startsWith(userPrefix)) return channel === userChannel(ended.userId)
  if (offset === undefined) return true
  const last = ended.offsets.get(channel)
  // The negated comparison makes NaN count as beyond.
  return last !== undefined && offset <= last
}
