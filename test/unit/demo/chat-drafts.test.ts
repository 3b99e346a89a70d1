import { expect, test } from 'vitest'
import {
  createDraftStorage,
  emptyDraft,
  type TextStorage,
} from '../../../examples/chat/web/src/state/drafts.ts'

/** Storage in memory, like a browser's. */
function memoryStorage(): TextStorage {
  const values = new Map<string, string>()
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, text) => void values.set(key, text),
    removeItem: (key) => void values.delete(key),
  }
}

test('a page that is loaded again has its draft, and so has a new page of the same user', () => {
  const [tab, shared] = [memoryStorage(), memoryStorage()]
  const draft = { text: 'half a sentence', editing: { id: 'one', kept: 'what was there' } }
  createDraftStorage(tab, shared, 'ada').put('lobby', draft)
  expect(createDraftStorage(tab, shared, 'ada').load('lobby')).toEqual(draft)
  expect(createDraftStorage(memoryStorage(), shared, 'ada').load('lobby')).toEqual(draft)
  expect(createDraftStorage(tab, shared, 'ada').load('other')).toEqual(emptyDraft)
  expect(createDraftStorage(tab, shared, 'grace').load('lobby')).toEqual(emptyDraft)
})

test('two pages of one user keep what each of them wrote', () => {
  const shared = memoryStorage()
  const [one, two] = [memoryStorage(), memoryStorage()]
  createDraftStorage(one, shared, 'ada').put('lobby', { text: 'of the first page' })
  createDraftStorage(two, shared, 'ada').put('lobby', { text: 'of the second page' })
  expect(createDraftStorage(one, shared, 'ada').load('lobby').text).toBe('of the first page')
  // The first page sends: the draft of the second one stays, also for a new page, and does not come to the first.
  createDraftStorage(one, shared, 'ada').put('lobby', emptyDraft)
  expect(createDraftStorage(one, shared, 'ada').load('lobby')).toEqual(emptyDraft)
  expect(createDraftStorage(memoryStorage(), shared, 'ada').load('lobby').text).toBe('of the second page')
  createDraftStorage(two, shared, 'ada').put('lobby', emptyDraft)
  expect(createDraftStorage(memoryStorage(), shared, 'ada').load('lobby')).toEqual(emptyDraft)
})

test('what is no draft in storage, and a storage that is full, are no trouble', () => {
  const tab = memoryStorage()
  tab.setItem('lockstep-chat:draft:ada:lobby', '{"text":7}')
  const full: TextStorage = {
    ...memoryStorage(),
    setItem: () => {
      throw new Error('QuotaExceededError')
    },
  }
  const drafts = createDraftStorage(tab, full, 'ada')
  expect(drafts.load('lobby')).toEqual(emptyDraft)
  expect(() => drafts.put('lobby', { text: 'hello' })).not.toThrow()
})
