// A node of the health lane, in a process of its own; it does what its parent asks for.
import { setTimeout as pause } from 'node:timers/promises'
import { newOperationId } from '../../src/index.ts'
import { runLoad, type Load } from './load.ts'
import { openSite, type Site } from './site.ts'

export type Command =
  | { readonly kind: 'load'; readonly load: Load }
  /** Bytes of the heap after a collection. */
  | { readonly kind: 'heap' }
  /** An operation that is rolled back and not told; answers its id. */
  | { readonly kind: 'untold' }
  | { readonly kind: 'stop' }

export interface Ask {
  readonly id: number
  readonly command: Command
}

export type Answer =
  | { readonly http: string }
  | { readonly id: number; readonly value?: unknown }
  | { readonly id: number; readonly error: string }

const say = (answer: Answer): void => void process.send?.(answer)

const obey: {
  readonly [Kind in Command['kind']]: (site: Site, command: Command & { kind: Kind }) => Promise<unknown>
} = {
  load: (site, { load }) => runLoad(site.application, load),
  async heap() {
    // Collects more than once: finalizers may release more memory a turn later.
    for (let round = 0; round < 3; round += 1) {
      globalThis.gc?.()
      await pause(10)
    }
    return process.memoryUsage().heapUsed
  },
  async untold({ application }) {
    const id = newOperationId()
    await application.untold.call({ room: 'r0', n: 0 }, { id, user: 'sentinel' })
    return id
  },
  stop: (site) => site.close(),
}

// Exit with the parent: nothing else would end this process.
process.once('disconnect', () => process.exit(1))
const site = await openSite(process.env['HEALTH_DATABASE_URL'] ?? '')
process.on('message', ({ id, command }: Ask) => {
  obey[command.kind](site, command as never).then(
    (value) => say({ id, value }),
    (error: unknown) => say({ id, error: String(error) }),
  )
})
say({ http: site.http })
