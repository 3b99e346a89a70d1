import {
  reservedMethods,
  runEvents,
  type OngoingRun,
  type RunProgressData,
  type RunRef,
  type RunStateData,
} from '../protocol/index.ts'
import type { Joined } from './channel-event.ts'
import { misuse } from './client-options.ts'
import type { DraftView } from './draft-view.ts'
import type { LockstepClientError } from './errors.ts'
import { RunHandle, type RunHandleOptions } from './run-handle.ts'
import type { Call } from './pending-operation.ts'

export type RunsOptions = Omit<RunHandleOptions, 'ref' | 'start' | 'onOver'>

/** Runs that the page follows. */
export class Runs {
  readonly #options: RunsOptions
  readonly #handles = new Set<RunHandle>()

  constructor(options: RunsOptions) {
    this.#options = options
  }

  /** @param start the call that starts it */
  open(ref: RunRef, start?: Call): RunHandle {
    const { id, task } = Object(ref) as Partial<RunRef>
    if (typeof id !== 'string' || typeof task !== 'string')
      throw misuse(
        'client.run takes { id, task }, as an operation returns it, or the name of a task and the id of a run.',
      )
    const handle = new RunHandle({
      ...this.#options,
      ref: { id, task },
      start,
      onOver: (over) => this.#handles.delete(over),
    })
    this.#handles.add(handle)
    return handle
  }

  async list(channel: string): Promise<readonly RunRef[]> {
    const { runs } = (await this.#options.query(reservedMethods.listRuns, { channel })) as {
      readonly runs: readonly OngoingRun[]
    }
    return runs.map(({ runId, task }) => ({ id: runId, task }))
  }

  /** Takes an event of a channel, or of the user. */
  hear(event: unknown): void {
    const { type, data } = Object(event) as { readonly type?: unknown; readonly data?: unknown }
    if (type !== runEvents.state && type !== runEvents.progress) return
    const told = Object(data) as RunStateData & RunProgressData
    for (const handle of Array.from(this.#handles)) if (handle.id === told.runId) handle.hear(type, told)
  }

  draftChanged({ run }: DraftView): void {
    if (run === undefined) return
    for (const handle of Array.from(this.#handles)) if (handle.id === run.id) handle.draftChanged()
  }

  joined(channel: string, joined: Joined): void {
    for (const handle of Array.from(this.#handles)) handle.joined(channel, joined)
  }

  /** No connection is made any more, or the client is closed. */
  end(error: LockstepClientError): void {
    for (const handle of Array.from(this.#handles)) handle.fail(error)
  }
}
