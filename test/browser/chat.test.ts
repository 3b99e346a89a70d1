import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Demo, launchBrowser, Person, startTimeoutMs } from './demo.ts'

let demo: Demo
let browser: Browser
let ada: Person
let grace: Person

beforeAll(async () => {
  demo = await Demo.start()
  browser = await launchBrowser()
}, startTimeoutMs)

afterAll(async () => {
  await browser.close()
  await demo.stop()
})

beforeEach(async () => {
  ada = await Person.signIn(browser, demo, 'ada')
  grace = await Person.signIn(browser, demo, 'grace')
})

afterEach(async () => {
  await ada.leave()
  await grace.leave()
})

describe('two people in one conversation', () => {
  it('see the same messages in the same order', async () => {
    const count = 6
    const talk = async (person: Person, name: string): Promise<void> => {
      for (let turn = 1; turn <= count; turn++) await person.say(`order ${name} ${turn}`)
    }
    await Promise.all([talk(ada, 'ada'), talk(grace, 'grace')])
    for (const person of [ada, grace]) {
      await expect.poll(() => person.messages('order').count()).toBe(2 * count)
      await expect.poll(() => person.page.locator('[data-state=sending]').count()).toBe(0)
    }
    const texts = await ada.texts('order')
    expect(await grace.texts('order')).toEqual(texts)
    const written = Array.from({ length: count }, (_, index) => `order ada ${index + 1}`)
    expect(texts.filter((text) => text.includes('ada'))).toEqual(written)

    await ada.page.reload()
    await expect.poll(() => ada.messages('order').count()).toBe(2 * count)
    expect(await ada.texts('order')).toEqual(texts)
  })

  it('see a held message only when it commits, and others pass it by meanwhile', async () => {
    await ada.say('/hold 3000 held message')
    await ada.page.getByText('Not committed yet').waitFor()
    await grace.say('passing by')
    await ada.sees('passing by')
    expect(await grace.messages('held message').count()).toBe(0)
    await grace.sees('held message')
    await ada
      .messages('held message')
      .getByRole('button', { name: /^Committed at offset \d+$/ })
      .waitFor()
    expect(await ada.messages('held message').count()).toBe(1)
  })

  it('are invited to a new conversation, which shows as unread', async () => {
    await ada.page.getByRole('button', { name: 'New conversation' }).click()
    await ada.page.getByLabel('Title').fill('Reading group')
    await ada.page.getByLabel('Members, by name').fill('grace')
    await ada.page.getByRole('button', { name: 'Create' }).click()
    await ada.page.getByRole('heading', { name: 'Reading group' }).waitFor()
    await ada.say('chapter one')
    const invitation = grace.page.getByRole('button', { name: /Reading group/ })
    await invitation.getByText('Unread').waitFor({ state: 'attached' })
    await invitation.click()
    await grace.sees('chapter one')
    await expect.poll(() => invitation.getByText('Unread').count()).toBe(0)
  })

  it('fit side by side into one browser', async () => {
    const page = await ada.page.context().newPage()
    await page.goto(`${demo.url}/?split=ada,grace`)
    const left = page.frameLocator('iframe[title="Chat as ada"]')
    const right = page.frameLocator('iframe[title="Chat as grace"]')
    await left.getByRole('textbox').fill('seen twice')
    await left.getByRole('textbox').press('Enter')
    await expect.poll(() => right.locator('.bubble', { hasText: 'seen twice' }).count()).toBe(1)
  })
})

describe('a message that is rolled back', () => {
  it('stays with its notice, also after a reload, and Retry sends it as a new operation', async () => {
    await ada.say('/fail keep my words')
    const message = ada.messages('keep my words')
    const retry = message.getByRole('button', { name: 'Retry' })
    await message.getByText('Rolled back. Your message was not saved.').waitFor()
    await retry.waitFor()

    await ada.page.reload()
    await message.getByText('Rolled back. Your message was not saved.').waitFor()
    await retry.click()
    // The page has just been loaded, so its timeline tells of the retry alone.
    await ada.page.locator('.event', { hasText: 'keep my words' }).getByText('rolled back after').waitFor()
    await retry.waitFor()
    expect(await message.count()).toBe(1)
    expect(await grace.messages('keep my words').count()).toBe(0)

    await message.getByRole('button', { name: 'Edit' }).click()
    await ada.say('keep my words after all')
    await grace.sees('keep my words after all')
    expect(await message.count()).toBe(1)
  })

  it('is gone for good when it is discarded', async () => {
    await ada.say('/fail forget this')
    await ada.messages('forget this').getByRole('button', { name: 'Discard' }).click()
    await expect.poll(() => ada.messages('forget this').count()).toBe(0)
    await ada.page.reload()
    await ada.connected()
    expect(await ada.messages('forget this').count()).toBe(0)
  })
})

describe('a connection that is lost', () => {
  it('comes back with what was missed, once', async () => {
    await ada.page.getByRole('button', { name: 'Drop my socket' }).click()
    await ada.page.getByText('Reconnecting.').waitFor()
    await grace.say('missed while away')
    await grace
      .messages('missed while away')
      .getByRole('button', { name: /^Committed/ })
      .waitFor()
    await ada.say('written while away')
    await ada.say('and written in order')
    await ada.sees('missed while away')
    await ada.connected()
    await grace.sees('and written in order')
    expect(await grace.texts('written')).toEqual(['written while away', 'and written in order'])
    await ada.page.getByText('Caught up on 1 missed event', { exact: true }).waitFor()
    expect(await ada.messages('missed while away').count()).toBe(1)
    expect(await ada.messages('written while away').count()).toBe(1)
  })
})
