// An answer of the assistant: the same words on every screen while it is written, and an end that everybody sees.
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
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

const words = (count: number): string =>
  Array.from({ length: count }, (_, index) => `w${index + 1}`).join(' ')
const writing = ({ page }: Person) => page.locator('.message[data-state=writing]')
const saved = ({ page }: Person, text: string) =>
  page.locator('.message[data-state=committed] .bubble').getByText(text, { exact: true })
const notices = ({ page }: Person) =>
  page.getByRole('list', { name: 'Notices' }).getByText('The answer was not saved.')
const noneIsWritten = async (person: Person): Promise<void> => {
  await expect.poll(() => writing(person).count()).toBe(0)
}

it('grows on all pages, also on one that comes late, and each has it once when it is saved', async () => {
  await ada.say('/slow 40 60')
  await writing(ada)
    .locator('.bubble')
    .getByText(/^w1 w2 w3/)
    .waitFor()
  await writing(grace)
    .locator('.bubble')
    .getByText(/^w1 w2 w3/)
    .waitFor()
  const late = await Person.signIn(browser, demo, 'linus', { viewport: { width: 390, height: 780 } })
  await writing(late)
    .locator('.bubble')
    .getByText(/^w1 w2 w3/)
    .waitFor()

  for (const person of [ada, grace, late]) {
    await saved(person, words(40)).waitFor()
    await noneIsWritten(person)
    expect(await saved(person, words(40)).count()).toBe(1)
  }
  await late.leave()
}, 60_000)

it('is stopped from the page of somebody else, and what was written until then stays', async () => {
  await ada.say('/slow 500 50')
  await writing(grace)
    .locator('.bubble')
    .getByText(/^w1 w2 w3/)
    .waitFor()
  await writing(grace).getByRole('button', { name: 'Stop' }).click()

  await noneIsWritten(ada)
  await noneIsWritten(grace)
  const texts = await ada.texts('w1 w2 w3')
  const kept = texts.at(-1) ?? ''
  expect(words(500).startsWith(kept)).toBe(true)
  expect(kept).not.toBe(words(500))
  await saved(grace, kept).waitFor()
}, 60_000)

it('that can never be saved leaves no word on any screen, and one notice with who asked', async () => {
  await ada.say('/failalways 5 20')
  await writing(grace).waitFor()
  await notices(ada).waitFor()
  await noneIsWritten(ada)
  await noneIsWritten(grace)
  expect(await notices(ada).count()).toBe(1)
  expect(await notices(grace).count()).toBe(0)
  expect((await saved(ada, words(5)).count()) + (await saved(grace, words(5)).count())).toBe(0)
}, 60_000)

it('goes on after its node was killed in the middle, and is there once on every page', async () => {
  await ada.say('/die 11 150')
  await writing(grace)
    .locator('.bubble')
    .getByText(/^w1 w2/)
    .waitFor()
  await demo.died()
  await demo.startAgain()
  for (const person of [ada, grace]) {
    await saved(person, words(11)).waitFor({ timeout: 40_000 })
    await noneIsWritten(person)
    expect(await saved(person, words(11)).count()).toBe(1)
  }
}, 90_000)

it('has a name that nobody can sign in by', async () => {
  const response = await fetch(`${demo.url}/demo/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: 'Assistant' }),
  })
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ code: 'DEMO_NAME_TAKEN' })
})

it('is no fault to the monitor: neither what was shown early nor what was taken back', async () => {
  const health = await fetch(`${demo.url}/lockstep/health`)
  // The score counts gaps as well, and those are the machine's.
  const none = {
    websocket_before_commit: 0,
    missing_rollback_notification: 0,
    transaction_boundary_violation: 0,
  }
  expect(await health.json()).toMatchObject({ status: 'ok', violations: none })
})
