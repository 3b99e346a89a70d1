// Bugs of the kind that this lane is there to catch, planted at mutation points as in test/faults/mutants.ts.
import type { MutationPoint } from '../../src/protocol/mutation-point.ts'
import { promoted, restored, type Schedule } from './schedules.ts'

interface Planted {
  readonly bug: string
  readonly schedule: Schedule
  readonly points: readonly MutationPoint[]
}

const blindFeeds = ['head that went back unnoticed', 'one offset with two events unnoticed'] as const

export const plantedBugs: readonly Planted[] = [
  {
    bug: 'epoch not renewed on promotion',
    schedule: promoted,
    points: ['another server unnoticed', 'renewals that are gone unnoticed', ...blindFeeds],
  },
  {
    bug: 'history that went back unnoticed',
    schedule: restored,
    points: ['renewals that are gone unnoticed', ...blindFeeds],
  },
  {
    bug: 'feeds kept over a change of history',
    schedule: promoted,
    points: ['feeds kept over a change of history', ...blindFeeds],
  },
]
