// No text of a person is lost: neither what is being written, nor what was not saved.
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { Demo, launchBrowser, Person, startTimeoutMs } from './demo.ts'

let demo: Demo
let browser: Browser
let ada: Person

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
})

afterEach(() => ada.leave())

const field = () => ada.page.getByRole('textbox', { name: /^Message / })
const reload = async (): Promise<void> => {
  await ada.page.reload()
  await ada.connected()
}

it('a draft is there again after a reload, and after a look at another conversation', async () => {
  await ada.page.getByRole('button', { name: 'New conversation' }).click()
  await ada.page.getByLabel('Title').fill('Elsewhere')
  await ada.page.getByLabel('Members, by name').fill('grace')
  await ada.page.getByRole('button', { name: 'Create' }).click()
  await ada.page.getByRole('heading', { name: 'Elsewhere' }).waitFor()
  await field().fill('half a thought')

  await ada.page.getByRole('button', { name: /^Lobby/ }).click()
  await ada.page.getByRole('heading', { name: 'Lobby' }).waitFor()
  expect(await field().inputValue()).toBe('')
  await ada.page.getByRole('button', { name: /^Elsewhere/ }).click()
  await expect.poll(() => field().inputValue()).toBe('half a thought')

  await reload()
  expect(await field().inputValue()).toBe('half a thought')
  await field().press('Enter')
  await ada.sees('half a thought')
  await reload()
  expect(await field().inputValue()).toBe('')
})

it('a message that is edited stays until its new words are sent, also over a reload', async () => {
  await ada.say('/fail these words matter')
  const message = ada.messages('these words matter')
  await message.getByRole('button', { name: 'Edit' }).click()
  await expect.poll(() => field().inputValue()).toBe('/fail these words matter')
  await field().fill('these words matter more')

  await reload()
  expect(await field().inputValue()).toBe('these words matter more')
  await message.getByText('Rolled back. Your message was not saved. Nobody else saw it.').waitFor()

  await field().press('Enter')
  await message.getByRole('button', { name: /^Committed at offset/ }).waitFor()
  expect(await ada.texts('these words')).toEqual(['these words matter more'])
})

it('Edit keeps the draft that it takes the place of, and what was changed in another message', async () => {
  await ada.say('/fail first')
  await ada.messages('/fail first').getByRole('button', { name: 'Edit' }).waitFor()
  await ada.say('/fail second')
  await ada.messages('/fail second').getByRole('button', { name: 'Edit' }).waitFor()
  await field().fill('a draft of its own')

  await ada.messages('/fail first').getByRole('button', { name: 'Edit' }).click()
  await field().fill('/fail first, changed')
  await ada.messages('/fail second').getByRole('button', { name: 'Edit' }).click()
  await expect.poll(() => field().inputValue()).toBe('/fail second')
  await ada.messages('/fail first, changed').getByText('Rolled back.').waitFor()

  await ada.page.getByRole('button', { name: 'Cancel' }).click()
  await expect.poll(() => field().inputValue()).toBe('a draft of its own')
  expect(await ada.messages('/fail second').count()).toBe(1)
})
