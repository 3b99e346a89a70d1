// The door of a revision that declared channels on their own, for processes that declare them on the instance.

interface EarlierInstance {
  nodeHandler(): unknown
}

interface EarlierOptions {
  readonly auth?: unknown
}

/** Exports of such a revision that are used here. */
export interface EarlierDoor {
  createLockstep(options: object): EarlierInstance
  defineChannel(pattern: string, options: object): unknown
}

type Authenticate = (question: { readonly token: string }) => unknown

/** Source of the index that stands in front of such a revision's own, which is moved to `earlierIndex`. */
export const earlierIndex = 'src/index-of-revision.ts'
export const indexBefore = `export * from './index-of-revision.ts'
import * as door from './index-of-revision.ts'
import { createInstanceOf } from '../bench/harness/earlier-door.ts'
export const createLockstep = (options) => createInstanceOf(door, options)
`

/**
 * Creates the instance when its first member but `channel` is used: such a revision needs its channels by then. Members are
 * bound once, so that a measured call costs one look into a map more than it did.
 */
export function createInstanceOf(door: EarlierDoor, options: EarlierOptions): unknown {
  const channels: unknown[] = []
  let instance: EarlierInstance | undefined
  const create = (): EarlierInstance => door.createLockstep({ ...options, ...authOf(options), channels })
  const members = new Map<PropertyKey, unknown>([
    [
      'channel',
      (pattern: string, channel: object) => {
        const family = door.defineChannel(pattern, channel)
        channels.push(family)
        return family
      },
    ],
    ['handler', () => (instance ??= create()).nodeHandler()],
  ])
  return new Proxy(
    {},
    {
      get: (_, name) => {
        const known = members.get(name)
        if (known !== undefined) return known
        instance ??= create()
        const member: unknown = Reflect.get(instance, name)
        if (typeof member !== 'function') return member
        const bound: unknown = member.bind(instance)
        members.set(name, bound)
        return bound
      },
    },
  )
}

function authOf({ auth }: EarlierOptions): EarlierOptions {
  if (typeof auth !== 'function') return {}
  return { auth: (token: string) => (auth as Authenticate)({ token }) }
}
