import { expect, test } from 'vitest'
import { verdictOf, type ErrorSeen, type TestReport } from '../../faults/test-verdict.ts'

const name = 'two users each get their own answer'
const failedBy = (...errors: readonly ErrorSeen[]): TestReport => ({
  brokenFiles: [],
  tests: [{ name: `ids > ${name}`, state: 'failed', errors }],
})
const assertion = { names: ['AssertionError'], message: 'expected 1 to be 2' }
const ranOut = { names: ['Error'], message: 'Test timed out in 20000ms.' }

test.each<[string, TestReport, boolean, RegExp]>([
  ['an assertion failed', failedBy(assertion), true, /^$/],
  ['an assertion failed, and the clean-up', failedBy(ranOut, assertion), true, /^$/],
  [
    'an assertion failed inside a property',
    failedBy({ names: ['Error', 'AssertionError'], message: 'Property failed' }),
    true,
    /^$/,
  ],
  ['a wait ran out', failedBy(ranOut), false, /no assertion.*timed out/],
  [
    'the code threw',
    failedBy({ names: ['TypeError'], message: 'x is no function' }),
    false,
    /x is no function/,
  ],
  ['nothing failed', { brokenFiles: [], tests: [{ name, state: 'passed', errors: [] }] }, false, /it passed/],
  ['a source does not compile', { brokenFiles: ['Transform failed'], tests: [] }, false, /Transform failed/],
  [
    'another test failed',
    { brokenFiles: [], tests: [{ name: 'others', state: 'failed', errors: [assertion] }] },
    false,
    /no test of that name/,
  ],
])('where %s', (_, report, isNoticed, why) => {
  const verdict = verdictOf(report, name)
  expect(verdict.isNoticed).toBe(isNoticed)
  expect(verdict.why).toMatch(why)
})
