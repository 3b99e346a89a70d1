import { expect, it } from 'vitest'
import { fnv1a } from '../../../src/core/index.ts'

// Vectors of the authors of FNV, for ASCII: http://www.isthe.com/chongo/src/fnv/test_fnv.c
it.each([
  ['', 0x811c9dc5],
  ['a', 0xe40c292c],
  ['foobar', 0xbf9cf968],
])('hashes %j as FNV-1a does', (text, hash) => {
  expect(fnv1a(text)).toBe(hash)
})

it('hashes the end of a text, and goes on from the hash of what stands before', () => {
  expect(fnv1a('xyfoobar', 2)).toBe(fnv1a('foobar'))
  expect(fnv1a('bar', 0, fnv1a('foo'))).toBe(fnv1a('foobar'))
})
