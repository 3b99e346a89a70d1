import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Demo, launchBrowser, Person, startTimeoutMs } from './demo.ts'

const phone = { viewport: { width: 390, height: 844 } }

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

const widthOf = (page: Page): Promise<unknown> => page.evaluate('document.documentElement.scrollWidth')

it('shows every screen at 390 px without scrolling sideways', async () => {
  const context = await browser.newContext(phone)
  const visitor = await context.newPage()
  await visitor.goto(demo.url)
  await visitor.getByLabel('Your name').waitFor()
  expect(await widthOf(visitor)).toBe(390)
  await visitor.goto(`${demo.url}/?split`)
  await visitor.frameLocator('iframe').first().getByRole('textbox').waitFor()
  expect(await widthOf(visitor)).toBe(390)
  await context.close()

  const ada = await Person.signIn(browser, demo, 'ada', phone)
  const { page } = ada
  await ada.say('x'.repeat(300))
  await ada.say('/fail with buttons below')
  await page.getByRole('button', { name: 'Retry' }).waitFor()
  expect(await widthOf(page)).toBe(390)

  await page.getByRole('button', { name: 'Try to break it' }).click()
  await page.getByRole('heading', { name: 'What just happened' }).waitFor()
  expect(await widthOf(page)).toBe(390)
  await page.keyboard.press('Escape')

  await page.getByRole('button', { name: 'All conversations' }).click()
  await page.getByRole('button', { name: /^Lobby/ }).waitFor()
  expect(await widthOf(page)).toBe(390)
  await page.getByRole('button', { name: 'New conversation' }).click()
  await page.getByLabel('Title').waitFor()
  expect(await widthOf(page)).toBe(390)
  await page.context().close()
})

it('says what is wrong with a name', async () => {
  const page = await browser.newPage()
  await page.goto(demo.url)
  await page.getByLabel('Your name').fill('ada lovelace')
  await page.keyboard.press('Enter')
  await expect.poll(() => page.getByRole('alert').textContent()).toContain('A name has 1 to 32 letters')
  await page.close()
})
