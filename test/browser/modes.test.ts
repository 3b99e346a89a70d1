// The modes as two people see them: on their screens, and in the panel that says what happened.
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
  await choose('Enforce')
  await ada.leave()
  await grace.leave()
})

async function choose(mode: string): Promise<void> {
  // `check` refuses a button that something else lies over.
  await ada.page.getByRole('radio', { name: mode }).check()
  const answer = (): Promise<string> => ada.page.evaluate(async () => (await fetch('/demo/mode')).text())
  await expect.poll(answer).toBe(JSON.stringify({ mode: mode.toLowerCase() }))
}

/** The panel's entry about a message that ada sent. */
const told = (text: string) => ada.page.locator('.event', { has: ada.page.getByText(text, { exact: true }) })

async function isGoneAfterReload(person: Person, text: string): Promise<void> {
  await person.page.reload()
  await person.connected()
  await person.sees('before the ghost')
  expect(await person.messages(text).count()).toBe(0)
}

it('Enforce: an event is seen with its commit or after it, by one clock, and has its tick', async () => {
  await ada.say('/early enforced')
  await grace.sees('/early enforced')
  await ada
    .messages('/early enforced')
    .getByRole('button', { name: /^Committed at offset \d+$/ })
    .waitFor()
  const event = told('/early enforced')
  await event.getByText(/^the server showed it [\d.]+ ms after its commit$/).waitFor()
  expect(await event.getAttribute('data-tone')).toBe('good')
  // The event is news of the commit: what is known first is what is told, and the later one is named so.
  const verdict = (await event.locator('.event-verdict').textContent()) ?? ''
  const [, knownMs] = /^committed at offset \d+, known here after ([\d,]+) ms$/.exec(verdict) ?? []
  const detail = (await event.getByText(/came after/).textContent()) ?? ''
  const [, laterMs] = /came after ([\d,]+) ms$/.exec(detail) ?? []
  const number = (text = ''): number => Number(text.replaceAll(',', ''))
  expect(number(laterMs)).toBeGreaterThanOrEqual(number(knownMs))
})

it('Enforce: a message that fails after its event was emitted is seen by nobody else', async () => {
  await ada.say('before the ghost')
  await ada.say('/ghost enforced')
  await ada.messages('/ghost enforced').getByText('Your message was not saved. Nobody else saw it.').waitFor()
  await ada.say('after the ghost')
  await grace.sees('after the ghost')
  expect(await grace.messages('/ghost enforced').count()).toBe(0)
})

it('Observe: what is shown before its commit has no tick of a commit, and the panel says by how much', async () => {
  await choose('Observe')
  await ada.say('/early observed')
  await grace.sees('/early observed')
  await ada.messages('/early observed').getByText('On every screen, not committed yet').waitFor()
  const mark = ada.messages('/early observed').getByRole('button')
  await mark.waitFor()
  expect(await mark.getAttribute('aria-label')).toBe('Shown before its commit')
  const event = told('/early observed')
  await event.getByText(/^the server showed it [\d.]+ ms before its commit$/).waitFor()
  expect(await event.getAttribute('data-tone')).toBe('bad')
  await ada.page.getByText('shown before the commit').waitFor()
})

it('Observe: a ghost is on every screen, its author alone learns of it, and after a reload it was never there', async () => {
  await choose('Observe')
  await ada.say('before the ghost')
  await ada.say('/ghost observed')
  await grace.sees('/ghost observed')
  const message = ada.messages('/ghost observed')
  await message.getByText('Your message was not saved. Others saw it, and nobody tells them.').waitFor()
  expect(await message.count()).toBe(1)
  await ada.page.getByText('rolled back, not notified').waitFor()
  expect(await grace.messages('/ghost observed').count()).toBe(1)
  await isGoneAfterReload(grace, '/ghost observed')

  await message.getByRole('button', { name: 'Discard' }).click()
  await expect.poll(() => message.count()).toBe(0)
})

it('Off: a ghost is on every screen, nobody is notified, and after a reload it was never there', async () => {
  await choose('Off')
  await ada.say('before the ghost')
  await ada.say('/ghost unnoticed')
  await grace.sees('/ghost unnoticed')
  // The panel measures a message that the application says nothing of.
  await told('/ghost unnoticed')
    .getByText('Everybody saw what was never saved, and nobody is notified.')
    .waitFor()
  for (const person of [ada, grace]) {
    const message = person.messages('/ghost unnoticed')
    expect(await message.getAttribute('data-state')).not.toBe('rolled_back')
    expect(await message.count()).toBe(1)
    expect(await person.page.locator('.toast').count()).toBe(0)
  }
  await isGoneAfterReload(grace, '/ghost unnoticed')
  await isGoneAfterReload(ada, '/ghost unnoticed')
})

it('the failure that the README opens with can be seen side by side, and is not there where Lockstep enforces', async () => {
  const page = await ada.page.context().newPage()
  const open = () => page.goto(`${demo.url}/?split`)
  await open()
  const [left, right] = ['ada', 'grace'].map((name) => page.frameLocator(`iframe[title="Chat as ${name}"]`))
  if (left === undefined || right === undefined) throw new Error('there are two frames')
  const send = async (mode: string, body: string): Promise<void> => {
    await left.getByRole('button', { name: 'Try to break it' }).click()
    await left.getByRole('radio', { name: mode }).check()
    await expect
      .poll(() => page.evaluate(async () => (await fetch('/demo/mode')).text()))
      .toContain(mode.toLowerCase())
    await left.getByRole('button', { name: 'Close', exact: true }).click()
    await left.getByRole('textbox').fill(body)
    await left.getByRole('textbox').press('Enter')
  }
  await send('Off', '/ghost Hello')
  for (const frame of [left, right]) await frame.locator('.bubble', { hasText: '/ghost Hello' }).waitFor()
  await expect
    .poll(() =>
      left.locator('.message', { hasText: '/ghost Hello' }).getByRole('button').getAttribute('aria-label'),
    )
    .toBe('Sent. Nothing says that it is committed')
  await open()
  for (const frame of [left, right]) {
    await frame.locator('.badge[data-state=connected]').waitFor({ state: 'attached' })
    await expect.poll(() => frame.locator('.skeleton-thread').count()).toBe(0)
    expect(await frame.locator('.bubble', { hasText: '/ghost Hello' }).count()).toBe(0)
  }
  // The page was loaded again before the rollback: neither it nor another page of hers says a word of it.
  await send('Enforce', '/ghost Hello')
  await left.locator('.verdict', { hasText: 'Your message was not saved. Nobody else saw it.' }).waitFor()
  expect(await right.locator('.bubble', { hasText: '/ghost Hello' }).count()).toBe(0)
  // Ada's second page is notified of the enforced rollback, and was not of the one before, which was sent with Lockstep
  // off.
  await expect.poll(() => ada.page.locator('.toast').count()).toBe(1)
  expect(await left.locator('.toast').count()).toBe(0)
  await page.close()
}, 60_000)

it('somebody who fills the lobby with long messages leaves it open for others, and the rest a click away', async () => {
  const longest = 4_000
  for (let n = 1; n <= 60; n++) await ada.say(`${n} of sixty `.padEnd(longest, 'x'))
  await expect.poll(() => ada.page.locator('[data-state=sending]').count(), { timeout: 60_000 }).toBe(0)
  await grace.page.reload()
  await grace.connected()
  await grace.sees('60 of sixty')
  expect(await grace.messages('of sixty').count()).toBeLessThan(60)
  while ((await grace.page.getByRole('button', { name: 'Earlier messages' }).count()) > 0) {
    const before = await grace.page.locator('.message').count()
    await grace.page.getByRole('button', { name: 'Earlier messages' }).click()
    await expect.poll(() => grace.page.locator('.message').count()).toBeGreaterThan(before)
  }
  expect(await grace.messages('of sixty').count()).toBe(60)
}, 120_000)
