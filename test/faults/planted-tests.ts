// Bugs that show in no run under faults, or only by chance: each has to be noticed by a test that is named here, which
// vitest runs over sources that hold the bug.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Mutant } from './mutants.ts'
import { verdictOf, type TestReport } from './test-verdict.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface TestedBug extends Pick<Mutant, 'points' | 'database'> {
  readonly bug: string
  /** Path below `test`. */
  readonly file: string
  /** Part of the test's full name. */
  readonly test: string
}

export const testedBugs: readonly TestedBug[] = [
  {
    bug: 'claim without its own lease',
    database: ['claim without its own lease'],
    file: 'integration/runs/run-rows.test.ts',
    test: 'needs the lease of its own node',
  },
  {
    bug: 'operation known by its id alone',
    points: ['operation known by its id alone'],
    file: 'integration/transaction/ids-of-users.test.ts',
    test: 'two users who call with one id at the same moment on one node each get their own answer',
  },
  {
    bug: 'chunk shown before its row',
    points: ['chunk shown before its row'],
    file: 'integration/drafts/drafts.test.ts',
    test: 'is shown only once its row was answered',
  },
  {
    bug: 'chunks shown before the events they follow',
    points: ['chunks shown before the events they follow'],
    file: 'integration/drafts/drafts.test.ts',
    test: 'names its run, follows its state, and ends with the commit of the step',
  },
  {
    bug: 'retraction left out',
    points: ['retraction left out'],
    file: 'integration/drafts/drafts.test.ts',
    test: 'is retracted with the rollback of its operation',
  },
  {
    bug: 'older attempt shown',
    points: ['older attempt shown'],
    file: 'unit/feeds/ongoing-drafts.test.ts',
    test: 'shows the highest attempt at a run, and nothing of the ones before',
  },
  {
    bug: 'any number of unheard ids closed',
    points: ['any number of unheard ids closed'],
    file: 'unit/transaction/closing-quota.test.ts',
    test: 'gives a burst, then what time earns, and never more than a burst',
  },
  {
    bug: 'a check that answers anything but no lets through',
    points: ['a check that answers anything but no lets through'],
    file: 'integration/gateway/who-may-call.test.ts',
    test: 'that answers a row lets nobody through, and the log says why',
  },
  {
    bug: 'a check that answers anything but no lets listen',
    points: ['a check that answers anything but no lets listen'],
    file: 'unit/core/channels.test.ts',
    test: 'is nobody when the check answers a truthy word',
  },
  {
    bug: 'savepoint marked when its answer comes',
    points: ['savepoint marked when its answer comes'],
    file: 'unit/transaction/savepoint-marks.test.ts',
    test: 'while a statement is on its way belongs behind it',
  },
  {
    bug: 'commit that is found out later delivered to nobody',
    points: ['commit that is found out later delivered to nobody'],
    file: 'integration/transaction/commit-reply.test.ts',
    test: 'a commit that is found out later is shown at once, as the log has it, and not by the next comparison of heads',
  },
  {
    bug: 'connections to a demoted primary used again',
    points: ['connections to a demoted primary used again'],
    file: 'unit/postgres/database-state.test.ts',
    test: 'connections of before the server was found to be read-only are outdated, and later ones are not',
  },
  {
    bug: 'client sends a call that it has given up',
    points: ['client sends a call that it has given up'],
    file: 'unit/client/connection.test.ts',
    test: 'calls wait for a connection as long as they are allowed to, and then reject without effect',
  },
  {
    bug: 'refresh with an expired token answered by an error that ends SDKs',
    points: ['refresh with an expired token answered by an error that ends SDKs'],
    file: 'integration/gateway/recovery.test.ts',
    test: 'a refresh with a token that has just expired makes the SDK ask for another one',
  },
  {
    bug: 'lease over the connections of all statements',
    points: ['lease over the connections of all statements'],
    file: 'integration/cluster/node-lease.test.ts',
    test: 'a node keeps its lease while all of its own connections are busy, and the pool with them',
  },
  {
    bug: 'no turns by user',
    points: ['no turns by user'],
    file: 'unit/core/admission.test.ts',
    test: 'many users who ask now and then are all served before those who always want more',
  },
  {
    bug: 'users who send far more read as fast while a node is busy',
    points: ['users who send far more read as fast while a node is busy'],
    file: 'integration/gateway/strain.test.ts',
    test: 'a user who sends far more than others is read more slowly, and the others are not',
  },
  {
    bug: 'question for outcomes paid as one command',
    points: ['question for outcomes paid as one command'],
    file: 'integration/transaction/closed-ids.test.ts',
    test: 'a question counts as one command for each of its ids',
  },
  {
    bug: 'operator of the flush left to the search_path',
    database: ['operator of the flush left to the search_path'],
    file: 'integration/postgres/settings.test.ts',
    test: 'a schema of the application that shadows functions, operators and types of Postgres',
  },
  {
    bug: 'families that share names accepted',
    points: ['families that share names accepted'],
    file: 'unit/core/channels.test.ts',
    test: 'are refused, since both have the name',
  },
  {
    bug: 'logger of the application called as it is',
    points: ['logger of the application called as it is'],
    file: 'integration/transaction/thrown-values.test.ts',
    test: 'no value thrown anywhere ends the process, with a logger that',
  },
]

export interface TestedResult {
  readonly bug: string
  readonly test: string
  /** An assertion of the test failed. */
  readonly isNoticed: boolean
  /** Reason why the bug counts as not noticed; empty where it was. */
  readonly why: string
  /** The output of vitest, where the test did not fail. */
  readonly said: string
}

/** Runs the test of each bug whose name holds `only`, one after the other. */
export async function runTestedBugs(only = ''): Promise<readonly TestedResult[]> {
  const results: TestedResult[] = []
  for (const tested of testedBugs) if (tested.bug.includes(only)) results.push(await runOne(tested))
  return results
}

async function runOne({ bug, points, database, file, test }: TestedBug): Promise<TestedResult> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-planted-test-'))
  const [planted, report] = [join(folder, 'planted.json'), join(folder, 'report.json')]
  try {
    await writeFile(planted, JSON.stringify({ points, database }))
    const said = await vitest({ planted, report }, [
      '--project',
      file.slice(0, file.indexOf('/')),
      join('test', file),
      '--testNamePattern',
      test.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`),
      '--reporter',
      join(root, 'test/faults/error-reporter.ts'),
    ])
    const verdict = verdictOf(JSON.parse(await readFile(report, 'utf8')) as TestReport, test)
    return { bug, test, ...verdict, said: verdict.isNoticed ? '' : said.slice(-2_000) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Runs tests that are expected to fail.
 * @returns the output of Vitest
 */
function vitest(
  { planted, report }: { readonly planted: string; readonly report: string },
  options: readonly string[],
): Promise<string> {
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...options]
  const env = { ...process.env, LOCKSTEP_PLANTED: planted, LOCKSTEP_REPORT: report }
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root, env, maxBuffer: 2 ** 26 }, (_, out, errors) =>
      resolve(`${out}${errors}`),
    )
  })
}
