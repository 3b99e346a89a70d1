/**
 * What a client needs to know of a server's application, as types only. The server makes it with
 * `AppOf<[typeof conversation, typeof sendMessage]>`.
 */
export interface AppShape {
  /** By name or pattern as a template literal type (`conversation:${string}`): event types with their data. */
  readonly channels: { readonly [name: string]: { readonly [type: string]: unknown } }
  readonly operations: { readonly [name: string]: { readonly input: unknown; readonly result: unknown } }
  readonly queries: { readonly [name: string]: { readonly input: unknown; readonly result: unknown } }
}
