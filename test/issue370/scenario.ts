import type { Stage } from './stage.ts'

/** Notes a finding; a scenario goes on after it, so that it finds all there is. */
export type Expect = (holds: boolean, finding: string) => void

/** Scenario of the suite: runs against a stage, or names the part of Lockstep that it waits for. */
export type Scenario =
  | {
      readonly name: string
      readonly run: (stage: Stage, expect: Expect) => Promise<void>
    }
  | {
      readonly name: string
      /** Part of Lockstep that has to exist first. */
      readonly waitsFor: string
      /** Claims that the scenario will check then. */
      readonly willShow: readonly string[]
    }

export interface ScenarioFile {
  /** Name of the file without its ending. */
  readonly file: string
  readonly scenarios: readonly Scenario[]
}

export type ScenarioResult = {
  readonly file: string
  readonly name: string
  readonly status: 'passed' | 'failed' | 'not yet'
  /** Findings of a scenario that ran, or the part that it waits for and its claims. */
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
