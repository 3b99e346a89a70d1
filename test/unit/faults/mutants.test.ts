import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { mutationPoints, type MutationPoint } from '../../../src/protocol/mutation-point.ts'
import { plantedBugs as bugsOfHistories } from '../../failover/planted.ts'
import { plantedBugs as bugsOfFairness } from '../../fairness/planted.ts'
import { databaseBugs, type DatabaseBug } from '../../faults/database-bugs.ts'
import { mutants, type Mutant } from '../../faults/mutants.ts'
import { testedBugs } from '../../faults/planted-tests.ts'
import { plantedBugs as bugsOfSchedules } from '../../simulation/planted.ts'

// The lanes of planted bugs take minutes and run in CI only; that each bug is planted by one of them is told here at once.
const sources = fileURLToPath(new URL('../../../src', import.meta.url))
const bugs: readonly Mutant[] = [...Object.values<Mutant>(mutants), ...testedBugs]

it('each mutation point stands in the sources and is planted by a lane', () => {
  const files = readdirSync(sources, { recursive: true }).map(String)
  const text = files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join(sources, file), 'utf8'))
    .join('\n')
  const called = [...text.matchAll(/mutationPoint\(\s*'([^']+)'\s*,?\s*\)/g)].map(([, name]) => name)
  expect(new Set(called)).toEqual(new Set(mutationPoints))
  const planted = new Set<MutationPoint>(bugsOfFairness.map(({ bug }) => bug))
  for (const { points = [] } of [...bugs, ...bugsOfHistories, ...bugsOfSchedules])
    for (const point of points) planted.add(point)
  expect(planted).toEqual(new Set(mutationPoints))
})

it('each bug of the database is planted by a lane or by the test that names it', () => {
  const planted = new Set<DatabaseBug>(bugs.flatMap(({ database = [] }) => database))
  // Planted by test/integration/transaction/settlements-batched.test.ts.
  planted.add('heads of a settlement locked in the order given')
  expect(planted).toEqual(new Set(Object.keys(databaseBugs)))
})
