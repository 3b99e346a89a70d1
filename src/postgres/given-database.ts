import { describeKind, hasMethods, isPromise, LockstepError, peek, type Expectation } from '../core/index.ts'

/**
 * Checks of what code without types gives for a database, with what to write instead: a pool or an instance of PGlite has to
 * pass through its driver first.
 */

const writePool = 'Write fromPool(new pg.Pool({ connectionString })).'
const writeClient = 'Such a client is one connection: write fromPool(new pg.Pool({ connectionString })).'

/** The option `database` of `createLockstep`. */
export const databaseExpectation: Expectation = {
  expected: 'a database, such as fromPool(pool)',
  fits: (value) =>
    hasMethods(value, ['begin', 'snapshot', 'migrate']) && hasMethods(peek(value, 'own'), ['query']),
  isRequired: true,
  // An address holds a password.
  isSecret: true,
  advice: adviceOn,
}

export function isPool(value: unknown): boolean {
  return hasMethods(value, ['connect', 'query', 'on']) && typeof peek(value, 'totalCount') === 'number'
}

/** @throws LS_CONFIG_INVALID for what is no pool of `pg` */
export function assertPool(value: unknown): void {
  if (isPool(value)) return
  throw refusal('fromPool', 'a pool of pg', value, adviceOn(value) ?? 'Write fromPool(new pg.Pool({ … })).')
}

/** @throws LS_CONFIG_INVALID for what is no instance of PGlite */
export function assertPglite(value: unknown): void {
  if (hasMethods(value, ['query', 'exec', 'transaction'])) return
  throw refusal('fromPglite', 'an instance of PGlite', value, adviceOnPglite(value))
}

/** `postgres://…` and the like, and `host=… password=…` of libpq. `C://` is a drive. */
const address =
  /^\s*(?!file:)[a-z][a-z0-9+.-]+:\/\/|(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service)\s*=/i

/** @throws LS_CONFIG_INVALID for what is no path of a folder */
export function assertDirectory(value: unknown): void {
  const isAddress = typeof value === 'string' && address.test(value)
  if (typeof value === 'string' && value !== '' && !isAddress) return
  // An address holds a password.
  const given = isAddress ? 'the address of a database' : describeKind(value)
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `openPglite takes the path of a folder, and got ${given}. Write await openPglite("./data").`,
  })
}

function refusal(entry: string, expected: string, value: unknown, advice: string): LockstepError {
  return new LockstepError('LS_CONFIG_INVALID', {
    message: `${entry} takes ${expected}, and got ${describeKind(value)}. ${advice}`,
  })
}

function adviceOn(value: unknown): string | undefined {
  if (typeof value === 'string') return writePool
  if (isPromise(value)) return 'Write await before it.'
  if (isPool(value)) return 'Write fromPool(pool).'
  if (hasMethods(value, ['query', 'exec', 'transaction'])) return 'Write fromPglite(pglite).'
  if (hasMethods(peek(value, 'pglite'), ['query'])) return 'Write fromPglite(opened.pglite).'
  if (hasMethods(value, ['connect', 'query'])) return writeClient
  return undefined
}

function adviceOnPglite(value: unknown): string {
  if (typeof value === 'string') return 'Write const { pglite } = await openPglite("./data").'
  if (peek(value, 'pglite') !== undefined) return 'Write fromPglite(opened.pglite).'
  return adviceOn(value) ?? 'Write fromPglite(await PGlite.create("./data")).'
}
