// Ownership of a directory by one living process at a time; it ends with the process, however that ends.
//
// Node has no lock that the kernel drops by itself, and a lock file that is removed when its owner is dead can be
// removed twice: the second removal hits the new owner. So claims are numbered files whose numbers only rise. A claim
// is made by creating the next number, counts only while it is the highest, and the highest is never deleted.
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { identifyProcess, isRunning, type ProcessIdentity } from './processes.ts'

export type Ownership = { release(): void }

/** Claims a directory for this process; throws `in_use` while another living process (or this one) holds it. */
export function claimOwnership(directory: string): Ownership {
  const claims = join(directory, 'owner')
  mkdirSync(claims, { recursive: true, mode: 0o700 })
  const self = identifyProcess(process.pid)
  if (!self) throw new Error('this process cannot find itself in the process table')

  for (;;) {
    const highest = highestClaim(claims)
    const owner = highest === 0 ? undefined : readClaim(claims, highest)
    if (owner && isRunning(owner)) {
      const who = owner.pid === process.pid ? 'this process' : `process ${owner.pid}`
      throw new EmbeddedPostgresError(
        'in_use',
        `${directory} is in use by ${who}. Stop it first, or use another directory.`,
      )
    }
    const mine = highest + 1
    if (!createClaim(claims, mine, self)) continue
    if (highestClaim(claims) !== mine) {
      rmSync(join(claims, String(mine)), { force: true })
      continue
    }
    removeOlderClaims(claims, mine)
    return { release: () => replaceClaim(claims, mine, {}) }
  }
}

/** True when the last owner died without releasing the directory. */
export function isAbandoned(directory: string): boolean {
  const claims = join(directory, 'owner')
  if (!existsSync(claims)) return false
  const owner = readClaim(claims, highestClaim(claims))
  return owner !== undefined && !isRunning(owner)
}

function claimNumbers(claims: string): number[] {
  return readdirSync(claims)
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

const highestClaim = (claims: string): number => Math.max(0, ...claimNumbers(claims))

function removeOlderClaims(claims: string, current: number): void {
  for (const number of claimNumbers(claims)) {
    if (number < current) rmSync(join(claims, String(number)), { force: true })
  }
}

/** The claiming process; undefined for a released claim, or one that a newer claim has removed meanwhile. */
function readClaim(claims: string, number: number): ProcessIdentity | undefined {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(join(claims, String(number)), 'utf8'))
    return typeof pid === 'number' && typeof startedAt === 'string' ? { pid, startedAt } : undefined
  } catch {
    return undefined
  }
}

// A link appears with its whole content and fails when the name exists: nobody ever reads half a claim.
function createClaim(claims: string, number: number, owner: ProcessIdentity): boolean {
  const draft = writeDraft(claims, owner)
  try {
    linkSync(draft, join(claims, String(number)))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function replaceClaim(claims: string, number: number, content: object): void {
  try {
    renameSync(writeDraft(claims, content), join(claims, String(number)))
  } catch (error) {
    // The whole directory has been removed, and the claim with it.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function writeDraft(claims: string, content: object): string {
  const draft = join(claims, `draft-${randomUUID()}`)
  writeFileSync(draft, JSON.stringify(content), { flag: 'wx', mode: 0o600 })
  return draft
}
