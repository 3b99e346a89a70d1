/** The request that opened a connection: its upgrade to WebSocket. */
export interface AuthRequest {
  /** Names in lower case, as Node has them: `cookie`, `authorization`, `x-forwarded-for`. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Path and query. */
  readonly url: string
}

/** Question that the application's own `auth` answers. */
export interface AuthQuestion {
  /** Absent where the client sent none: a page that is known by its cookies, say. */
  readonly token: string | undefined
  readonly request: AuthRequest
}

/** Evidence of who has opened a connection. */
export interface Credentials {
  /** Empty where the client sent none. */
  readonly token: string
  /** Absent where tokens alone are looked at. */
  readonly request: AuthRequest | undefined
}
