/**
 * Types of a server's application, as a client needs to know them. The server makes them with
 * `AppOf<typeof import('./chat.ts')>`.
 */
export interface AppShape {
  /**
   * Event types with their data, by the channel's name or pattern as a template literal type
   * (`conversation:${string}`).
   */
  readonly channels: {
    readonly [name: string]: {
      readonly events: { readonly [type: string]: unknown }
      /** Types of one chunk, by the draft's name. */
      readonly drafts?: { readonly [name: string]: unknown }
    }
  }
  /** `refusal` is a union of `{ code, data }`, `never` where there is none; leave it out where it is not known. */
  readonly operations: {
    readonly [name: string]: { readonly input: unknown; readonly result: unknown; readonly refusal?: unknown }
  }
  /** `progress` is undefined where the task declares none. */
  readonly tasks?: {
    readonly [name: string]: {
      readonly input: unknown
      readonly result: unknown
      readonly refusal?: unknown
      readonly progress?: unknown
      readonly drafts?: { readonly [name: string]: unknown }
    }
  }
  readonly queries: { readonly [name: string]: { readonly input: unknown; readonly result: unknown } }
}
