// Bugs of the kind that this lane is there to catch, planted into copies of the sources as in test/faults/mutants.ts.
import type { Replacement } from '../faults/build-node.ts'
import { promoted, restored, type Schedule } from './schedules.ts'

interface Planted {
  readonly bug: string
  readonly schedule: Schedule
  readonly replacements: readonly Replacement[]
}

const watch = 'src/transaction/epoch-watch.ts'
const feed = 'src/events/channel-feed.ts'

const noMark: Replacement = {
  file: watch,
  find: 'if (row.renewals !== null && Number(row.renewals) >= mark.renewals) return undefined',
  put: 'if (Date.now() > 0) return undefined',
}
const noHead: Replacement = {
  file: feed,
  find: "    if (head < positionBefore) return this.#replaced('the head of a channel went back')",
  put: '',
}
const noConflict: Replacement = {
  file: feed,
  find: 'if (event.offset > this.position) return false',
  put: 'if (event.offset > 0) return false',
}

export const plantedBugs: readonly Planted[] = [
  {
    bug: 'epoch not renewed on promotion',
    schedule: promoted,
    replacements: [
      {
        file: watch,
        find: "if (row.is_other === 'true') return",
        put: "if (row.is_other === 'false' && Date.now() < 0) return",
      },
      noMark,
      noHead,
      noConflict,
    ],
  },
  {
    bug: 'history that went back unnoticed',
    schedule: restored,
    replacements: [noMark, noHead, noConflict],
  },
  {
    bug: 'feeds kept over a change of history',
    schedule: promoted,
    replacements: [
      {
        file: 'src/events/event-hub.ts',
        find: '    log.history.onChange(() => this.#startOver())\n',
        put: '',
      },
      noHead,
      noConflict,
    ],
  },
]
