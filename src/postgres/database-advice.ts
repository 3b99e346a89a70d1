import { messageOf, peek, peekList } from '../core/index.ts'

const address = 'the address that the pool was given (DATABASE_URL, or the variables PGHOST, PGUSER, …)'

/** The server asks for a password, and `pg` has none. */
export const adviceOnNoPassword = `No password was given, and the server asks for one. Add it to ${address}, or set PGPASSWORD.`

/** Advice for an operator, by SQLSTATE or by error code of the system. */
export const adviceByCode: Readonly<Record<string, string>> = {
  '3D000': `Create the database, or correct its name in ${address}.`,
  '28P01': `Check user and password in ${address}.`,
  '28000': `Check the user in ${address}, and what pg_hba.conf allows that user from this host.`,
  '25P03':
    'The transaction was idle for longer than idle_in_transaction_session_timeout allows: the work waited for something ' +
    'that is not the database. Move that work before or after the operation, or raise the setting.',
  '25P04':
    'The transaction was open for longer than transaction_timeout allows. Do less in one operation, move what is not the ' +
    'database out of it, or raise the setting.',
  '57P05':
    'The connection was idle for longer than idle_session_timeout allows. A new one is made for the next statement.',
  ENOTFOUND: `There is no host of that name. Check the host in ${address}.`,
  EAI_AGAIN: `The name of the host could not be looked up. Check the host in ${address}, and DNS.`,
  ECONNREFUSED: `Nothing listens there. Check host and port in ${address}, and that the server runs.`,
}

/** The application has ended the pool, or closed PGlite. */
export const adviceOnClosed =
  'The application has closed it while the node still uses it. Call await lockstep.close() first, and close the database ' +
  'behind it; for a new node open a new one.'

/** Tables of Lockstep's own are not there. */
export function adviceOnMissing(schemaName: string): string {
  return (
    `The schema "${schemaName}" of Lockstep is not in this database, or not whole: it was dropped, or the address leads to ` +
    'another database. Restore it from a backup, or restart a node, which makes what is missing of a schema that is gone: ' +
    'empty, so that outcomes and events from before are lost.'
  )
}

/** Words for what happened, and for what to check where that can be said. */
export function explained(error: unknown): string {
  // Node's error for all addresses of a name has no text of its own.
  const text = messageOf(error) || peekList(error, 'errors').map(messageOf).join('; ')
  const advice = [error, ...peekList(error, 'errors')].map(adviceOn).find((one) => one !== undefined)
  return advice === undefined ? text : `${text.replace(/\.$/, '')}. ${advice}`
}

function adviceOn(error: unknown): string | undefined {
  const code = peek(error, 'code')
  if (typeof code === 'string') return Object.hasOwn(adviceByCode, code) ? adviceByCode[code] : undefined
  const text = messageOf(error)
  if (isOfClosed.test(text)) return adviceOnClosed
  if (!isOfLogin.test(text)) return undefined
  return /client password must be/.test(text) ? adviceOnNoPassword : adviceByCode['28P01']
}

/** Texts, without a code, by which `pg` and PGlite say that the application has ended them. */
export const isOfClosed = /^(?:Cannot use a pool after calling end|PGlite is clos)/

/** Texts, without a code, by which `pg` gives up a login by password before the server has refused it. */
export const isOfLogin = /^SASL: (?:SCRAM-|Only mechanism)/
