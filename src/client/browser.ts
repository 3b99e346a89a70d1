/**
 * Parts of a browser that the client uses, by shape and only where they are there. The DOM types stay out of the build, so
 * nothing else of a browser can slip in unseen, and the client runs in Node and in workers as well.
 */

/** The part of Web Storage that operations are remembered in; `localStorage` and `sessionStorage` fit. */
export interface OperationStorage {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** Events of a page, as far as the client reads them; key and value are those of a `storage` event. */
type PageListener = (event: { readonly key?: string | null; readonly newValue?: string | null }) => void

interface LockManager {
  request(name: string, held: () => Promise<void>): Promise<void>
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>
}

interface BrowserGlobals {
  readonly location?: { readonly href: string; readonly origin?: string }
  readonly AbortSignal?: { timeout(delayMs: number): unknown }
  readonly localStorage?: OperationStorage
  readonly WebSocket?: unknown
  readonly navigator?: { readonly locks?: LockManager }
  addEventListener?(type: string, listener: PageListener): void
  removeEventListener?(type: string, listener: PageListener): void
  fetch?(url: string, options: object): Promise<{ readonly status: number }>
}

const globals = globalThis as unknown as BrowserGlobals

/** Undefined where there is none, and where a privacy setting makes reading it throw. */
export function localStorageOrNone(): OperationStorage | undefined {
  try {
    return globals.localStorage
  } catch {
    return undefined
  }
}

/** Web Locks; browsers offer them to secure origins only. */
export function lockManager(): LockManager | undefined {
  return globals.navigator?.locks
}

/** Node has none before 22. */
export function globalWebSocket(): unknown {
  return globals.WebSocket
}

export function pageUrl(): string | undefined {
  return globals.location?.href
}

export function pageOrigin(): string {
  return globals.location?.origin ?? ''
}

/** The status that an address answers with; 0 where another origin's is not shown, undefined without an answer. */
export async function httpStatus(url: string): Promise<number | undefined> {
  try {
    const signal = globals.AbortSignal?.timeout(5_000)
    return (await globals.fetch?.(url, { mode: 'no-cors', credentials: 'omit', signal }))?.status
  } catch {
    return undefined
  }
}

export function onPageEvent(type: string, listener: PageListener): () => void {
  globals.addEventListener?.(type, listener)
  return () => globals.removeEventListener?.(type, listener)
}
