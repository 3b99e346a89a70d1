// Account that the server runs as. Postgres refuses to run as root, so root starts it as another user.
import { readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

/** The uid and gid for `spawn`; undefined when the server runs as the user we already are. */
export type ServerAccount = { readonly uid: number; readonly gid: number } | undefined

/** True when files must be handed to a {@link ServerAccount}. */
export const runsAsRoot = (): boolean => process.geteuid?.() === 0

/** The account for a data directory: its owner when it exists already, else an unprivileged one. */
export function chooseServerAccount(dataDirectory: string): ServerAccount {
  const owner = statSync(dataDirectory, { throwIfNoEntry: false })
  if (!runsAsRoot()) {
    if (owner && owner.uid !== process.geteuid?.()) {
      throw new EmbeddedPostgresError(
        'not_permitted',
        `${dataDirectory} belongs to uid ${owner.uid} (was it made as root?). Remove it as that user, or choose another directory.`,
      )
    }
    requirePasswordEntry()
    return undefined
  }
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  return unprivilegedAccount()
}

// initdb looks its own user up and gives up when the system does not know it (a container started with an arbitrary uid).
function requirePasswordEntry(): void {
  try {
    userInfo()
  } catch (cause) {
    throw new EmbeddedPostgresError(
      'unavailable',
      `Postgres cannot run as uid ${process.geteuid?.()}: the system has no user of that number.`,
      { cause },
    )
  }
}

function unprivilegedAccount(): ServerAccount {
  let users: string
  try {
    users = readFileSync('/etc/passwd', 'utf8')
  } catch (cause) {
    throw new EmbeddedPostgresError(
      'unavailable',
      'Postgres refuses to run as root, and /etc/passwd cannot be read.',
      {
        cause,
      },
    )
  }
  for (const name of ['nobody', 'daemon']) {
    const entry = users.split('\n').find((line) => line.startsWith(`${name}:`))
    const [, , uid, gid] = entry?.split(':') ?? []
    if (uid && gid && Number(uid) !== 0) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new EmbeddedPostgresError(
    'unavailable',
    'Postgres refuses to run as root, and there is no user "nobody".',
  )
}
