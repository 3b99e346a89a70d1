// Reporter of vitest that keeps the names of errors, also those behind them: its JSON report has texts only, in which a
// wait that ran out and an assertion look alike.
import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'
import type { ErrorSeen, TestReport } from './test-verdict.ts'

interface SerializedError {
  readonly name?: string
  readonly message: string
  readonly cause?: unknown
}

export default class ErrorReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const report: TestReport = {
      brokenFiles: modules.flatMap((module) => module.errors().map(({ message }) => message)),
      tests: modules.flatMap((module) =>
        [...module.children.allTests()].map((test) => ({
          name: test.fullName,
          state: test.result().state,
          errors: (test.result().errors ?? []).map(seen),
        })),
      ),
    }
    writeFileSync(process.env['LOCKSTEP_REPORT'] ?? '', JSON.stringify(report))
  }
}

function seen(error: SerializedError): ErrorSeen {
  const names: string[] = []
  let one: unknown = error
  for (let depth = 0; depth < 8 && typeof one === 'object' && one !== null; depth++) {
    names.push(String((one as SerializedError).name))
    one = (one as SerializedError).cause
  }
  return { names, message: error.message }
}
