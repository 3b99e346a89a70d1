// A part of the simulation: it shows something before the COMMIT, as a draft does, and has it taken back by a rollback.
import type { Part } from '../../src/transaction/index.ts'

/** Type of a message that is shown while its operation is open, and is in no log. */
export const shownType = 'shown'
export const withdrawnType = 'withdrawn'

interface Shown {
  /** Resolves once the message may be shown. */
  prepare(channel: string): Promise<void>
}

export const shownPart: Part<Shown> = {
  name: 'shown',
  open: (scope) => ({
    prepare: (channel) => scope.appendOnRollback({ key: channel, channel, type: withdrawnType, value: {} }),
  }),
}
