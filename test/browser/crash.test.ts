import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Demo, launchBrowser, Person, startTimeoutMs } from './demo.ts'

let demo: Demo
let browser: Browser

beforeAll(async () => {
  demo = await Demo.start()
  browser = await launchBrowser()
}, startTimeoutMs)

afterAll(async () => {
  await browser.close()
  await demo.stop()
})

it('reports the truth after the server was killed: what was open is rolled back, what was missed arrives once', async () => {
  const ada = await Person.signIn(browser, demo, 'ada')
  const grace = await Person.signIn(browser, demo, 'grace')
  await ada.say('before the crash')
  await grace.sees('before the crash')
  await ada.say('/hold 60000 open at the crash')
  await ada.page.getByText('Not committed yet').waitFor()

  await demo.kill()
  await grace.page.getByText('Reconnecting.').waitFor()
  // Keeps grace away while the others are back already.
  await grace.page.context().setOffline(true)
  await demo.startAgain()
  await ada.connected()
  const open = ada.messages('open at the crash')
  await open.getByText('Rolled back. Your message was not saved.').waitFor()

  for (const word of ['one', 'two', 'three']) await ada.say(`after the crash ${word}`)
  await expect.poll(() => ada.page.locator('[data-state=sending]').count()).toBe(0)

  await grace.page.context().setOffline(false)
  await grace.connected()
  await grace.sees('after the crash three')
  expect(await grace.texts('the crash')).toEqual([
    'before the crash',
    'after the crash one',
    'after the crash two',
    'after the crash three',
  ])
  await grace.page.getByText('Caught up on 3 missed events').waitFor()

  await ada.page.reload()
  await ada.connected()
  await open.getByRole('button', { name: 'Discard' }).click()
  await expect.poll(() => ada.texts('the crash')).toEqual(await grace.texts('the crash'))
  await ada.leave()
  await grace.leave()
}, 90_000)

it('says that a message never arrived when the page went away before the server was back', async () => {
  const ada = await Person.signIn(browser, demo, 'ada')
  await demo.kill()
  await ada.page.getByText('Reconnecting.').waitFor()
  await ada.say('into the void')
  await ada.messages('into the void').getByText('Waiting for the connection').waitFor()
  await ada.page.close()
  await demo.startAgain()

  await ada.openAgain(demo)
  const message = ada.messages('into the void')
  await message.getByText('Never received.').waitFor()
  await ada.page.reload()
  await message.getByText('Never received.').waitFor()
  await message.getByRole('button', { name: 'Retry' }).click()
  await message.getByRole('button', { name: /^Committed/ }).waitFor()
  expect(await message.count()).toBe(1)
  await ada.leave()
  expect(await demo.stop()).toBe(0)
}, 90_000)
