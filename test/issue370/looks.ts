// Checks that several scenarios share.
import { faultsOf } from './judge.ts'
import type { Person } from './person.ts'
import type { Expect } from './scenario.ts'
import type { Asked, Stage } from './stage.ts'

/** Expects of each operation what the commit promises; equal findings are told once, with their number. */
export async function expectInStep(
  stage: Stage,
  operations: readonly Asked[],
  expect: Expect,
): Promise<void> {
  const verdicts = await stage.verdicts(operations)
  const counts = new Map<string, number>()
  for (const fault of verdicts.flatMap(faultsOf)) counts.set(fault, (counts.get(fault) ?? 0) + 1)
  for (const [fault, count] of counts) expect(false, `${fault} (${count} of ${operations.length} operations)`)
  expect(operations.length > 0, 'nothing was asked for')
}

/** Holds a message in the middle of its transaction, and checks that no subscriber has seen its event. */
export async function lookIntoTransaction(
  stage: Stage,
  { person, to, body }: { readonly person: Person; readonly to: string; readonly body: string },
  expect: Expect,
): Promise<{ readonly ended: Promise<Asked>; readonly release: () => void }> {
  const { witness, slowStep } = stage
  const held = slowStep.hold(body)
  const { asked, ended } = stage.call(person, 'send_message', { to, body })
  // A rejection is handled below, when the message is released.
  ended.catch(() => {})
  await held.reached
  // The fence brings in all frames sent up to here, and the witness asks the database about them while nothing is
  // committed.
  await witness.fence()
  await witness.settled()
  const shown = witness.sightingsOf(asked.operationId)
  expect(!(await witness.isReadable(asked.operationId)), 'a row could be read before its commit')
  expect(shown.length === 0, `"${body}": ${shown.length} event on the screen while no row could be read`)
  return { ended, release: () => held.release() }
}
