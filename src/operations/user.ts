import {
  assertUserId,
  assertValue,
  aText,
  isServerUser,
  isUserLike,
  peek,
  userTexts,
  type Expectation,
  type UserContext,
} from '../core/index.ts'

/** The user of an operation. `toUser` says whether the id is one. */
export const userExpectation: Expectation = {
  expected: "a user's id, an object with one such as { id }, or serverUser for what no person asked for",
  fits: isUserLike,
  isRequired: true,
  inside: (where, value, path) => assertUserTexts(where, value, path),
}

/** Refuses facts of a user that are no texts: a tenant that is a number is no channel's. @throws LS_CONFIG_INVALID */
function assertUserTexts(where: string, user: unknown, path: string): void {
  if (typeof user === 'string') return
  for (const name of userTexts) {
    const value = peek(user, name)
    if (value !== undefined) assertValue(where, value, userText, `${path}.${name}`)
  }
}

const userText: Expectation = {
  ...aText,
  advice: (given) => (given === null ? 'Leave it out where there is none.' : undefined),
}

/** A user as given by the caller, checked and frozen. @throws LS_USER_ID_INVALID */
export function toUser(user: UserContext | string): UserContext {
  const context = typeof user === 'string' ? { id: user } : user
  if (!isServerUser(context)) assertUserId(context.id)
  return Object.isFrozen(context) ? context : Object.freeze({ ...context })
}
