// A table of mistakes of code without types: what is called, the code of the error, and words that it has to say.
import { expect, test } from 'vitest'
import { z } from 'zod'
import pg from 'pg'
import * as lockstepModule from '../../../src/index.ts'
import { isLockstepError, silentLogger } from '../../../src/index.ts'

export type Loose = (...given: unknown[]) => unknown

type LooseInstance = Record<
  | 'channel'
  | 'operation'
  | 'query'
  | 'task'
  | 'transaction'
  | 'attach'
  | 'revoke'
  | 'start'
  | 'close'
  | 'fetch'
  | 'emitUncommitted',
  Loose
> & {
  readonly rollout: { readonly set: Loose }
  readonly health: { readonly score: Loose; readonly dashboard: Loose }
}

const entries = lockstepModule as unknown as Record<string, Loose>

/** A function of the package as plain JavaScript sees it. */
export function entry(name: string): Loose {
  const found = entries[name]
  if (found === undefined) throw new Error(`lockstep exports no ${name}`)
  return found
}

const connectionString = 'postgres://ada:hunter2@127.0.0.1:1/app'
export const pool = new pg.Pool({ connectionString, max: 1 })
export const client = new pg.Client({ connectionString })
export const database = lockstepModule.fromPool(pool)
export const secret = 'a secret for tests, at least 32 bytes long'

export function create(options: object): LooseInstance {
  return entry('createLockstep')({ database, logger: silentLogger, ...options }) as LooseInstance
}

export const events = { sent: z.object({ text: z.string() }) }
export const canSubscribe = (): boolean => true
export const declareConversation = (node: LooseInstance): Loose =>
  node.channel('conversation:{id}', { events, canSubscribe }) as Loose
export const conversation = declareConversation(create({}))

export type Mistake = readonly [what: string, make: () => unknown, ...words: (string | RegExp)[]]

export async function thrownBy(make: () => unknown): Promise<unknown> {
  try {
    await make()
  } catch (error) {
    return error
  }
  return undefined
}

/** Tests that each mistake raises an error of the catalogue with this code, and that its message has these words. */
export function refuses(code: string, mistakes: readonly Mistake[]): void {
  test.each(mistakes.map(([what, make, ...words]) => ({ what, make, words })))(
    `$what: ${code}`,
    async ({ make, words }) => {
      const error = await thrownBy(make)
      expect(error).toSatisfy(isLockstepError)
      const { code: given, message } = error as Error & { readonly code: string }
      expect({ code: given, message }).toMatchObject({ code })
      for (const word of words) expect(message).toMatch(word instanceof RegExp ? word : literal(word))
      // A message never repeats a password or a secret.
      expect(message).not.toMatch(/hunter2|swordfish/)
    },
  )
}

const literal = (text: string): RegExp => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
