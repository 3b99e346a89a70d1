import type { Stage } from './stage.ts'

/** Notes what was seen; a scenario goes on after a finding, so that it finds all there is. */
export type Expect = (holds: boolean, finding: string) => void

/** One scenario of the suite: it runs against a stage, or names what it waits for. */
export type Scenario =
  | {
      readonly name: string
      readonly run: (stage: Stage, expect: Expect) => Promise<void>
    }
  | {
      readonly name: string
      /** What has to exist first. */
      readonly waitsFor: string
      /** What it is to show then. */
      readonly willShow: readonly string[]
    }

export interface ScenarioFile {
  /** Without the ending, as the file itself is called. */
  readonly file: string
  readonly scenarios: readonly Scenario[]
}

export type ScenarioResult = {
  readonly file: string
  readonly name: string
  readonly status: 'passed' | 'failed' | 'not yet'
  /** What was found, or what is waited for. */
  readonly findings: readonly string[]
  readonly seconds: number
}

export async function runScenario(file: string, scenario: Scenario, stage: Stage): Promise<ScenarioResult> {
  const { name } = scenario
  if ('waitsFor' in scenario) {
    const findings = [`waits for ${scenario.waitsFor}`, ...scenario.willShow]
    return { file, name, status: 'not yet', findings, seconds: 0 }
  }
  const began = performance.now()
  const counts = new Map<string, number>()
  let checks = 0
  const find = (finding: string): void => void counts.set(finding, (counts.get(finding) ?? 0) + 1)
  const expect: Expect = (holds, finding) => {
    checks += 1
    if (!holds) find(finding)
  }
  try {
    await scenario.run(stage, expect)
    if (checks === 0) find('it checked nothing')
  } catch (error) {
    find(`it broke off: ${error instanceof Error ? error.message : String(error)}`)
  }
  const seconds = (performance.now() - began) / 1_000
  const findings = [...counts].map(([finding, count]) =>
    count === 1 ? finding : `${finding} (${count} times)`,
  )
  return { file, name, status: findings.length === 0 ? 'passed' : 'failed', findings, seconds }
}
