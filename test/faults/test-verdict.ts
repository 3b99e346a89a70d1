// Verdict on a planted bug, from a run of vitest with the test that should notice it.

export interface ErrorSeen {
  /** Names of the error and of its causes. */
  readonly names: readonly string[]
  readonly message: string
}

/** Results of a run, as `error-reporter.ts` keeps them. */
export interface TestReport {
  readonly brokenFiles: readonly string[]
  readonly tests: readonly {
    readonly name: string
    readonly state: string
    readonly errors: readonly ErrorSeen[]
  }[]
}

export interface Verdict {
  readonly isNoticed: boolean
  /** Reason why the bug counts as not noticed; empty where it was. */
  readonly why: string
}

/**
 * A bug is noticed where an assertion of the named test failed. A source that does not compile, a world that does not
 * start and a wait that runs out fail the test too, and say nothing of the rule that it holds.
 */
export function verdictOf({ brokenFiles, tests }: TestReport, test: string): Verdict {
  const named = tests.filter(({ name }) => name.includes(test))
  const failed = named.filter(({ state }) => state === 'failed')
  const errors = failed.flatMap((one) => one.errors)
  if (errors.some(({ names }) => names.includes('AssertionError'))) return { isNoticed: true, why: '' }
  const missed = (why: string): Verdict => ({ isNoticed: false, why })
  if (failed.length > 0)
    return missed(`it failed, but no assertion did: ${firstLine(errors.map(({ message }) => message))}`)
  if (brokenFiles.length > 0) return missed(`its file did not run: ${firstLine(brokenFiles)}`)
  return missed(named.length === 0 ? 'there is no test of that name' : 'it passed')
}

function firstLine(messages: readonly string[]): string {
  return messages[0]?.split('\n')[0] ?? 'without a message'
}
