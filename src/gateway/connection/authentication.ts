import { mutationPoint } from '../../protocol/mutation-point.ts'
import { LockstepError, type UserContext } from '../../core/index.ts'
import { closeCodes, replyCodes } from '../../protocol/index.ts'
import {
  concerns,
  identify,
  type AuthRequest,
  type Credentials,
  type Identity,
  type Revocation,
} from '../../auth/index.ts'
import { errorReply, identityFields, refusalReply, reply } from '../wire/replies.ts'
import { deny, isExpiredToken, type DeniedConnection } from './denial.ts'
import type { SessionContext } from './session-context.ts'

/** The connection whose peer brings tokens. */
export interface AuthenticatedConnection extends DeniedConnection {
  close(code: number, reason: string): void
}

/** The token of one connection, from its check through its refreshes until it expires. */
export class Authentication {
  readonly #connection: AuthenticatedConnection
  readonly #context: SessionContext
  readonly #request: AuthRequest | undefined
  #expiresAt = Infinity
  #isRefreshing = false
  /** Revocations that arrive while a token is being checked, in case they concern its user. */
  #revokedMeanwhile: Revocation[] | undefined

  /** @param request the request that opened the connection, where `auth` sees it */
  constructor(
    connection: AuthenticatedConnection,
    context: SessionContext,
    request: AuthRequest | undefined,
  ) {
    this.#connection = connection
    this.#context = context
    this.#request = request
  }

  /** A token of the peer, with the request that opened the connection. */
  credentials(token: string): Credentials {
    return { token, request: this.#request }
  }

  /**
   * Checks a token. `accept` is called in the turn in which it is looked at what was revoked: what is revoked later finds
   * the user.
   * @throws LS_UNAUTHENTICATED, and what the application's check throws
   */
  async check(token: string, accept: (identity: Identity) => void): Promise<Identity> {
    const credentials = this.credentials(token)
    const revoked: Revocation[] = (this.#revokedMeanwhile = [])
    try {
      const { ports, settings } = this.#context
      const identity = await identify(credentials, (asked) => ports.authenticate(asked), settings.clock)
      this.#context.failedChecks.passed(credentials)
      if (revoked.some((one) => concerns(one, identity.user))) throw new LockstepError('LS_UNAUTHENTICATED')
      accept(identity)
      return identity
    } finally {
      this.#revokedMeanwhile = undefined
    }
  }

  /**
   * Takes over how long the identity is good for, and tells it as fields of a result. A peer without a token is not told:
   * it has none to refresh, and connects anew when it is closed.
   */
  adopt({ expiresAt }: Identity, token: string): string {
    const { version, clock } = this.#context.settings
    this.#expiresAt = expiresAt ?? Infinity
    const expiresInMs = token === '' ? Infinity : this.#expiresAt - clock.now()
    return identityFields(this.#connection.id, version, expiresInMs)
  }

  /** Answers a refresh. The same user goes on, with the fields that the new token gives them. */
  async refresh(id: number, token: string, holder: { user: UserContext }): Promise<void> {
    const connection = this.#connection
    if (this.#isRefreshing) return connection.push(refusalReply(id, 'LS_TOO_MANY_REQUESTS'))
    this.#isRefreshing = true
    try {
      await this.check(token, (identity) => {
        const { user } = holder
        if (identity.user.id !== user.id || identity.user.tenant !== user.tenant) {
          return connection.push(refusalReply(id, 'LS_COMMAND_FORBIDDEN'))
        }
        holder.user = identity.user
        connection.push(reply(id, 'refresh', `{${this.adopt(identity, token)}}`))
      })
    } catch (error) {
      // Error 109 would end an SDK for good here. After 3005 it connects anew, and asks for another token on the way.
      if (
        mutationPoint('refresh with an expired token answered by an error that ends SDKs') &&
        isExpiredToken(error)
      )
        connection.push(errorReply(id, replyCodes.tokenExpired, 'token expired'))
      else if (isExpiredToken(error)) connection.close(closeCodes.expired, 'token expired')
      else
        deny(connection, this.#context, {
          id,
          error,
          credentials: this.credentials(token),
          user: holder.user,
        })
    } finally {
      this.#isRefreshing = false
    }
  }

  /** Notes a revocation: it may concern the user whose token is being checked. */
  revoked(revocation: Revocation): void {
    if (revocation.channel === undefined) this.#revokedMeanwhile?.push(revocation)
  }

  /** The token expired, and the time to refresh it is over. */
  isOver(wallMs: number): boolean {
    return wallMs >= this.#expiresAt + this.#context.settings.limits.expiryGraceMs
  }
}
