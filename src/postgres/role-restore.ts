import { sqlState } from './sqlstate.ts'

/** SET ROLE, SET SESSION AUTHORIZATION, set_config('role', …). A column of that name costs three short statements. */
const namesRole = /\brole\b|\bsession[\s_]+authorization\b/i

/** `insufficient_privilege` */
const noRight = '42501'

/**
 * Lets Lockstep's statements within a user's transaction run with the rights that it began with. Under row level
 * security an operation often goes on as another role (`set local role`), which must have no rights on Lockstep's
 * tables. A statement that names a role is seen here. A function of the database that sets one shows by the first
 * statement of Lockstep's that is refused, and is expected from then on.
 */
export class RoleRestore {
  #isAlways = false

  isNeededAfter(watch: RoleWatch): boolean {
    return this.#isAlways || watch.hasNamedRole
  }

  /**
   * True for an answer to Lockstep's own statement that is worth another attempt, with the rights restored. Where they
   * had been restored already, it was no role that was in the way.
   */
  learn(error: unknown, watch: RoleWatch): boolean {
    if (this.isNeededAfter(watch) || sqlState(error) !== noRight) return false
    this.#isAlways = true
    return true
  }
}

/** Watches the role that statements of one transaction set. */
export class RoleWatch {
  #hasNamedRole = false

  get hasNamedRole(): boolean {
    return this.#hasNamedRole
  }

  see(text: string): void {
    this.#hasNamedRole ||= namesRole.test(text)
  }
}

/** Rights that a connection had before a transaction set any. */
export interface ConnectionRights {
  /** User of the session; undefined: the one that it began with, which nothing but a transaction can have changed. */
  readonly sessionUser?: string
  /** `none`: that of the session's user. */
  readonly role: string
}

/** Statements that change the rights for the transaction only, so that its end brings back what the session has. */
export function restoreRights({ sessionUser, role }: ConnectionRights): readonly string[] {
  return [
    `set local session authorization ${sessionUser === undefined ? 'default' : quote(sessionUser)}`,
    `set local role ${role === 'none' ? 'none' : quote(role)}`,
  ]
}

/**
 * Statements to send before the flush. Deferred constraints and triggers are of the user's transaction: they run as the
 * role that it had
 * set, and before the rights change. Postgres before version 18 runs a trigger as whoever commits.
 */
export function restoreForFlush(rights: ConnectionRights): readonly string[] {
  return ['set constraints all immediate', ...restoreRights(rights)]
}

const mark = 'lockstep_own'

/** Statements around a read within a user's transaction, after which its role is the one that the user has set. */
export function asOwn(rights: ConnectionRights): {
  readonly before: readonly string[]
  readonly after: readonly string[]
} {
  return {
    before: [`savepoint ${mark}`, ...restoreRights(rights)],
    // Settings made since the savepoint go with it; the read leaves nothing behind.
    after: [`rollback to savepoint ${mark}`, `release savepoint ${mark}`],
  }
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
