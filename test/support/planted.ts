import { readFileSync } from 'node:fs'
import type { Mutant } from '../faults/mutants.ts'

/** Reads the bugs of a run whose tests have to notice them: `test/faults/planted-tests.ts` writes them. */
export function readPlanted(): Pick<Mutant, 'points' | 'database'> {
  const path = process.env['LOCKSTEP_PLANTED']
  return path === undefined ? {} : (JSON.parse(readFileSync(path, 'utf8')) as Mutant)
}
