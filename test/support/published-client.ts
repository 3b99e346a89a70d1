import type { Plugin } from 'vite'
import { trimmedCentrifuge } from '../../scripts/trim-centrifuge.mjs'

/** Gives tests the part of `centrifuge` that a build puts into the client, instead of the whole package. */
export function publishedClient(): Plugin {
  let code: string | undefined
  return {
    name: 'lockstep-published-client',
    enforce: 'pre',
    transform: (_code, id) =>
      id.endsWith('/src/client/centrifuge.ts')
        ? { code: (code ??= trimmedCentrifuge()), map: null }
        : undefined,
  }
}
