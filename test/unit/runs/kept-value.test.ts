// Results of steps: what JSON cannot hold, or would lose without a word, is refused with the place and what to return instead.
import { expect, test } from 'vitest'
import { toKept } from '../../../src/runs/model/kept-value.ts'

class Sealed {
  readonly #amount = 3
  get amount(): number {
    return this.#amount
  }
}

test.each([
  [
    'a Promise',
    { user: Promise.resolve(1) },
    'result.user, a Promise, which JSON cannot hold. Return await user.',
  ],
  [
    'a thenable',
    // oxlint-disable-next-line unicorn/no-thenable
    { rows: { then() {} } },
    'result.rows, a Promise, which JSON cannot hold. Return await rows.',
  ],
  [
    'an Error',
    { cause: new Error('no') },
    'result.cause, an Error, which JSON cannot hold. Return cause.message.',
  ],
  [
    'an error with fields of its own',
    { cause: Object.assign(new TypeError('no'), { code: 'X' }) },
    'result.cause, an Error, which JSON cannot hold. Return cause.message.',
  ],
  ['a Map', { of: new Map([[1, 2]]) }, 'result.of, a Map, which JSON cannot hold. Return [...of].'],
  ['a Set', [new Set([1])], 'result[0], a Set, which JSON cannot hold. Return [...result[0]].'],
  ['a RegExp', { by: /x/ }, 'result.by, a RegExp, which JSON cannot hold. Return String(by).'],
  [
    'bytes',
    { file: new Uint8Array(2) },
    'result.file, a Uint8Array, which JSON cannot hold. Return [...file].',
  ],
  [
    'an ArrayBuffer',
    { file: new ArrayBuffer(2) },
    'result.file, an ArrayBuffer, which JSON cannot hold. Return what it stands for.',
  ],
  [
    'an object that keeps its state to itself',
    { of: new Sealed() },
    'result.of, a Sealed, which JSON cannot hold. Return what it stands for.',
  ],
  [
    'a BigInt in an object of its own',
    { n: Object(1n) as unknown },
    'result.n, a BigInt, which JSON cannot hold. Return String(n).',
  ],
])('%s is refused', (_, value, words) => {
  expect(() => toKept(value, 'Step "charge" (task "fulfil")')).toThrow(
    expect.objectContaining({
      code: 'LS_STEP_RESULT_INVALID',
      message: `Step "charge" (task "fulfil") returned ${words}`,
    }),
  )
})

test.each([
  ['nothing', undefined, undefined],
  ['null', null, null],
  ['a Date', { at: new Date(0) }, { at: '1970-01-01T00:00:00.000Z' }],
  ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 }), { a: 1 }],
  ['empty ones', { a: {}, b: [], c: Object.create(null) as object }, { a: {}, b: [], c: {} }],
  [
    'an object of a class with fields',
    new (class Money {
      amount = 3
    })(),
    { amount: 3 },
  ],
  ['numbers and texts in objects of their own', [Object(1), Object('a'), Object(true)], [1, 'a', true]],
  ['what says itself how it is written', { id: { toJSON: () => 'x' } }, { id: 'x' }],
  ['bytes that say so', { file: Buffer.from('a') }, { file: { type: 'Buffer', data: [97] } }],
])('%s is kept', (_, value, kept) => {
  expect(toKept(value, 'Step "x"').value).toEqual(kept)
})
