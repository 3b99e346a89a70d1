import type { EventSchemas, Jsonify, NoEvents, OutputOf } from '../core/index.ts'
import type { Notice, PlainRefusal } from '../protocol/index.ts'

/** How a run has ended. */
export type RunEnd<Result = unknown, Refused = PlainRefusal> =
  | { readonly state: 'completed'; readonly result: Result }
  | { readonly state: 'cancelled' }
  | {
      readonly state: 'failed' | 'timeout' | 'dead'
      readonly notice: Notice
      /** Refusal that the task declares; undefined after any other failure. */
      readonly refusal: Refused | undefined
    }

/** Types of one chunk of the drafts that a task may show, by their names; none where no channel is named. */
export type DraftsOf<Ch> = Ch extends {
  readonly definition: { readonly drafts: infer Drafts extends EventSchemas }
}
  ? { readonly [Name in keyof Drafts & string]: Jsonify<OutputOf<Drafts[Name]>> }
  : NoEvents
