import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { earlyViolation, emptySample, operation, sample, uuid } from './dashboard-sample.ts'
import { DashboardSite } from './dashboard-site.ts'
import { launchBrowser } from './demo.ts'

/** Time for several polls of the page on a busy machine. */
const soon = { timeout: 15_000 }

let site: DashboardSite
let browser: Browser
const pages: Page[] = []
/** Requests that the browser refused, errors that the page threw, and requests to other sites. */
let complaints: string[] = []

beforeAll(async () => {
  site = await DashboardSite.start(() => ({ body: sample() }))
  browser = await launchBrowser()
}, 90_000)

afterAll(async () => {
  await browser.close()
  await site.stop()
})

beforeEach(() => {
  site.answer = (minutes) => ({ body: sample(minutes) })
  complaints = []
})

afterEach(async () => {
  for (const page of pages.splice(0)) await page.context().close()
  if (complaints.length > 0) throw new Error(`the page: ${complaints.join('\n')}`)
})

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  pages.push(page)
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => {
    // The browser itself logs every answer with an error status.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
      complaints.push(message.text())
    }
  })
  page.on('request', (request) => {
    const isOurs = request.url().startsWith(site.url) || request.url().startsWith('data:')
    if (!isOurs) complaints.push(`asked for ${request.url()}`)
  })
  await page.goto(site.url)
  return page
}

const section = (page: Page, name: string) => page.getByRole('region', { name, exact: true })
const widthOf = (page: Page): Promise<unknown> => page.evaluate('document.documentElement.scrollWidth')
const focused = (page: Page): Promise<unknown> =>
  page.evaluate('document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent')

describe('what it shows', () => {
  it('is every panel, under a policy that allows nothing from elsewhere and no inline style', async () => {
    const page = await open()
    await section(page, 'Score').getByText('0.987').waitFor()
    await section(page, 'Score').getByText('43 of 3,320 operations out of step').waitFor()
    await section(page, 'Score over time')
      .getByRole('img', { name: /lowest 0\.760/ })
      .waitFor()
    expect(await section(page, 'Gaps by layer').getByRole('img').count()).toBe(4)
    const early = section(page, 'Gaps by layer').getByRole('row', { name: /^Commit → socket/ })
    expect(await early.getByRole('cell').allTextContents()).toContain('−498 ms')
    const nodes = section(page, 'Nodes and leases').getByRole('row')
    expect(await nodes.filter({ hasText: 'node-b' }).textContent()).toMatch(/Dead.*41\.0 s ago/)
    await section(page, 'Channels').getByText('340 ms').waitFor()
    await section(page, 'Rollout modes').getByText('10 % of users, others enforce').waitFor()
    await section(page, 'Rollbacks').locator('.rollback').getByText('Not notified').waitFor()
    expect(await page.locator('.chart canvas').count()).toBe(5)
  })

  it('is an early layer left of the end, marked, with its gap and its error', async () => {
    const page = await open()
    const row = section(page, 'Operations').getByRole('listitem').filter({ hasText: '−498 ms early' })
    const [zero, mark] = [row.locator('.timeline-zero'), row.locator('.timeline-mark').first()]
    const [zeroBox, markBox] = [await zero.boundingBox(), await mark.boundingBox()]
    expect(markBox?.x).toBeLessThan((zeroBox?.x ?? 0) - 200)
    expect(await row.locator('[data-early]').count()).toBe(2)
    await row.getByRole('button').click()
    expect(await row.getByRole('row', { name: /^Client/ }).textContent()).toMatch(
      /−486 ms ± 2\.00 ms.*Too early/,
    )
  })

  it('is asked for anew every two seconds, and an open row stays open while the list moves', async () => {
    const page = await open()
    const row = section(page, 'Operations').locator('.row', { hasText: '−498 ms early' })
    await row.getByRole('button').click()
    await row.getByText(uuid(2)).waitFor()
    const { operations } = sample()
    site.answer = () => ({
      body: { ...sample(), operations: [operation(77, { name: 'fresh' }), ...operations] },
    })
    await section(page, 'Operations').locator('.row').first().getByText('fresh').waitFor()
    expect(await row.getByRole('button').getAttribute('aria-expanded')).toBe('true')
  })

  it('covers the window that was chosen, which survives a reload', async () => {
    const page = await open()
    await section(page, 'Score').getByText('over the last hour').waitFor()
    await page.getByRole('radio', { name: '24 h' }).check({ force: true })
    await section(page, 'Score').getByText('over the last 24 hours').waitFor()
    await page.reload()
    await section(page, 'Score').getByText('over the last 24 hours').waitFor()
    expect(site.asked.at(-1)).toBe(1_440)
  })

  it('says so when the node keeps less than the window that was chosen', async () => {
    site.answer = (minutes) => ({ body: sample(Math.min(minutes, 60)) })
    const page = await open()
    await section(page, 'Score').getByText('over the last hour').waitFor()
    const note = page.getByText('This node keeps the last hour, and no more.')
    expect(await note.count()).toBe(0)
    await page.getByRole('radio', { name: '24 h' }).check({ force: true })
    await note.waitFor()
    await page.getByRole('radio', { name: '5 min' }).check({ force: true })
    await section(page, 'Score').getByText('over the last 5 minutes').waitFor()
    expect(await note.count()).toBe(0)
  })

  it('says aloud that the alert fires, once', async () => {
    const page = await open()
    const status = page.getByRole('status')
    await status.getByText('The score is in order.').waitFor({ state: 'attached' })
    const { score } = sample()
    site.answer = () => ({ body: { ...sample(), score: { ...score, overall: 0.7312, alert: 'firing' } } })
    await expect.poll(() => status.textContent(), soon).toMatch(/^Alert since .*fell below 0\.8/)
    await section(page, 'Score')
      .getByText(/^Alert since/)
      .waitFor()
    await page.evaluate(`
      changes = 0
      new MutationObserver(() => changes++).observe(document.querySelector('[role=status]'), { subtree: true, childList: true, characterData: true })`)
    const before = site.asked.length
    await expect.poll(() => site.asked.length, soon).toBeGreaterThan(before + 1)
    expect(await page.evaluate('changes')).toBe(0)
  })
})

describe('its states', () => {
  it('while the first answer is on its way: an outline', async () => {
    const answers: (() => void)[] = []
    site.answer = () => new Promise((resolve) => answers.push(() => resolve({ body: sample() })))
    const page = await open()
    await page.locator('.skeleton').first().waitFor()
    expect(await page.getByRole('main').getAttribute('aria-busy')).toBe('true')
    answers.forEach((answer) => answer())
    await section(page, 'Score').waitFor()
    expect(await page.locator('.skeleton').count()).toBe(0)
  })

  it('without operations: how to make one, and the nodes all the same', async () => {
    site.answer = () => ({ body: emptySample() })
    const page = await open()
    await page.getByRole('heading', { name: 'No operations in the last hour' }).waitFor()
    await page.getByText('client.call(').waitFor()
    await section(page, 'Nodes and leases').getByText('node-a').first().waitFor()
    site.answer = () => ({ body: { ...emptySample(), level: 'off' } })
    await page.getByRole('heading', { name: 'Nothing is measured' }).waitFor()
    await expect.poll(() => page.getByText("monitor: { level: 'full' }").count(), soon).toBe(1)
  })

  it('when nobody is admitted: which option opens it, and nothing of what was shown before', async () => {
    const page = await open()
    await section(page, 'Score').waitFor()
    site.answer = () => ({ status: 403, body: { error: 'forbidden' } })
    await page.getByRole('heading', { name: 'You are not admitted to this dashboard.' }).waitFor()
    await page.getByText('dashboard: { authorize:').waitFor()
    expect(await section(page, 'Score').count()).toBe(0)
    site.answer = () => ({ body: sample() })
    await page.getByRole('button', { name: 'Try again' }).click()
    await section(page, 'Score').waitFor()
  })

  it.each([
    ['an error status', { status: 503, body: { message: 'why' } }, 'The server answered with status 503.'],
    ['an error of a proxy', { status: 502, body: '<html>' }, 'The server answered with status 502.'],
    ['a page of a proxy', { body: '<html>Sign in</html>' }, 'The answer is not the data of a dashboard.'],
    ['JSON of something else', { body: { hello: [] } }, 'The answer is not the data of a dashboard.'],
    ['null', { body: null }, 'The answer is not the data of a dashboard.'],
  ])('after %s: what was asked, and it comes back by itself', async (_, answer, words) => {
    site.answer = () => answer
    const page = await open()
    await page.getByRole('heading', { name: words }).waitFor()
    await page.getByText('GET /lockstep/dashboard/data').waitFor()
    site.answer = () => ({ body: sample() })
    await expect.poll(() => section(page, 'Score').count(), soon).toBe(1)
  })

  it('when answers stop: the last figures with their age, asked for less and less often', async () => {
    const page = await open()
    await section(page, 'Score').waitFor()
    const times: number[] = []
    site.answer = () => {
      times.push(Date.now())
      return { status: 500, body: {} }
    }
    await page.getByText(/^These figures are \d+ s old\.$/).waitFor()
    await section(page, 'Score').getByText('0.987').waitFor()
    await expect.poll(() => times.length, soon).toBe(3)
    const [first = 0, second = 0, third = 0] = times
    expect(third - second).toBeGreaterThan((second - first) * 1.5)
    site.answer = () => ({ body: sample() })
    await page.getByRole('button', { name: 'Try now' }).click()
    await expect.poll(() => page.locator('.banner').count(), soon).toBe(0)
  }, 30_000)

  it('when the database is away: what this node has in memory, and said so', async () => {
    site.answer = () => ({ body: { ...sample(), isFresh: false } })
    const page = await open()
    await page.getByText('The database is away.').waitFor()
    expect(await section(page, 'Score').getByText('0.987').count()).toBe(1)
  })

  it('paused or in a hidden tab: it asks for nothing', async () => {
    const page = await open()
    await section(page, 'Score').waitFor()
    await page.getByRole('button', { name: 'Pause updates' }).click()
    const paused = site.asked.length
    // A second page serves as the clock: three questions of it take four seconds, in which the paused page could have
    // asked.
    const other = await open()
    await expect.poll(() => site.asked.length, soon).toBe(paused + 3)
    await other.close()
    await page.getByRole('button', { name: 'Resume updates' }).click()
    await page.getByText('Live', { exact: true }).waitFor()

    const hide = (isHidden: boolean): Promise<unknown> =>
      page.evaluate(`
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${isHidden} })
        document.dispatchEvent(new Event('visibilitychange'))`)
    await hide(true)
    const hidden = site.asked.length
    const third = await open()
    await expect.poll(() => site.asked.length, soon).toBe(hidden + 3)
    await third.close()
    await hide(false)
    await expect.poll(() => site.asked.length, soon).toBeGreaterThan(hidden + 3)
  }, 40_000)
})

describe('hostile values', () => {
  const markup = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
  const long = `${'long'.repeat(2_500)}‮`

  function hostile() {
    const base = sample()
    const operations = [markup, long, '', '‮gnp.exe', "';--"].map((name, index) =>
      operation(index, { name, user: index === 1 ? long : markup, node: long }),
    )
    return {
      ...base,
      node: long,
      operations,
      modes: [
        { operation: markup, mode: 'enforce', percentage: 100, otherwise: 'off' },
        { operation: long, mode: 'off', percentage: 1, otherwise: 'off' },
      ],
      violations: {
        ...base.violations,
        recent: [
          {
            ...earlyViolation,
            operation: markup,
            detail: markup + long,
            stack: markup + long,
            layers: [markup, long],
            node: long,
          },
          {
            ...earlyViolation,
            operationId: long,
            kind: 'of_a_later_release',
            at: Number.MAX_VALUE,
            gapMs: -1e300,
          },
        ],
      },
      rollbacks: {
        ...base.rollbacks,
        recent: [{ id: 'x', name: long, user: markup, at: 'never', told: false, userMessage: markup + long }],
      },
      nodes: [
        ...base.nodes,
        { ...base.nodes[0], node: long, isThis: false, startedAt: 'yesterday', bus: markup },
      ],
      channels: [
        { channel: long, subscribers: 1e21, perSecond: 1e12, head: Number.MAX_SAFE_INTEGER, lagMs: 1e15 },
      ],
    }
  }

  it.each([
    ['wide', 1_280],
    ['a phone', 390],
  ])(
    'are inert text, cut short with the whole on hover, and do not widen the page (%s)',
    async (_, width) => {
      site.answer = () => ({ body: hostile() })
      const page = await open({ viewport: { width, height: 844 } })
      await section(page, 'Operations').waitFor()
      for (const button of await page.locator('.row-head').all()) await button.click()
      await page.getByText('<img src=x').first().waitFor()
      expect(await page.evaluate('window.pwned')).toBeUndefined()
      expect(await page.locator('#root img:not([role]), #root script').count()).toBe(0)
      expect(await widthOf(page)).toBe(width)
      const name = section(page, 'Operations').locator('.row-title bdi').nth(1)
      expect(((await name.textContent()) ?? '').length).toBeLessThan(250)
      expect(((await name.getAttribute('title')) ?? '').length).toBe(2_000)
    },
  )
})

describe('for everyone', () => {
  it('fits 390 px in every state without scrolling sideways', async () => {
    const page = await open({ viewport: { width: 390, height: 844 } })
    await section(page, 'Operations').waitFor()
    for (const button of await page.locator('.row-head').all()) await button.click()
    for (const summary of await page.locator('summary').all()) await summary.click()
    await page.getByRole('button', { name: 'All 24 operations' }).click()
    expect(await widthOf(page)).toBe(390)
    const bodies = [{ body: emptySample() }, { status: 500, body: {} }, { status: 403, body: {} }]
    const words = [/^No operations/, /^These figures are/, /^You are not admitted/]
    for (const [index, answer] of bodies.entries()) {
      site.answer = () => answer
      await page
        .getByText(words[index] ?? '')
        .first()
        .waitFor()
      expect(await widthOf(page)).toBe(390)
    }
  }, 30_000)

  it('can be walked with the keyboard alone, and shows where the focus is', async () => {
    const page = await open()
    await section(page, 'Operations').waitFor()
    const seen: unknown[] = []
    const unmarked: unknown[] = []
    for (let step = 0; step < 60; step++) {
      await page.keyboard.press('Tab')
      if ((await page.evaluate('document.activeElement === document.body')) === true) break
      const name = await focused(page)
      seen.push(name)
      const isMarked = await page.evaluate(`(() => {
        const active = document.activeElement
        const shown = active.matches('.window input') ? active.nextElementSibling : active
        return getComputedStyle(shown).outlineStyle !== 'none'
      })()`)
      if (isMarked !== true) unmarked.push(name)
    }
    expect(unmarked).toEqual([])
    const controls = await page.locator('button, summary, a[href]').count()
    // The four windows are one stop.
    expect(seen.length).toBe(controls + 1)

    await page.locator('.row-head').first().focus()
    await page.keyboard.press('Enter')
    expect(await page.locator('.row-head').first().getAttribute('aria-expanded')).toBe('true')
    await page.keyboard.press('Space')
    expect(await page.locator('.row-head').first().getAttribute('aria-expanded')).toBe('false')
    await page.getByRole('radio', { name: '1 h' }).focus()
    await page.keyboard.press('ArrowRight')
    await section(page, 'Score').getByText('over the last 6 hours').waitFor()
  }, 40_000)

  it('keeps text readable in light and in dark, and stands still for those who ask', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open({ colorScheme, reducedMotion: 'reduce' })
      await section(page, 'Operations').waitFor()
      for (const button of await page.locator('.row-head').all()) await button.click()
      expect(await page.evaluate(faintTexts)).toEqual([])
      expect(await page.evaluate(bluePixels)).toBeGreaterThan(500)
      const moving = `document.getAnimations().filter(({ playState }) => playState === 'running').length`
      await expect.poll(() => page.evaluate(moving)).toBe(0)
    }
  }, 40_000)

  it('has its charts as tables, one level one heading and landmarks', async () => {
    const page = await open()
    const history = section(page, 'Score over time')
    await history.getByText('As a table').click()
    await history.getByRole('table', { name: 'Score over time, latest first' }).waitFor()
    expect(await history.getByRole('row').count()).toBe(21)
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1)
    expect(await page.getByRole('banner').count()).toBe(1)
    expect(await page.getByRole('main').count()).toBe(1)
  })
})

/**
 * Script that looks for the line of the score's history: charts take their colours from the style sheet, also without
 * motion.
 */
const bluePixels = `(() => {
  const canvas = document.querySelector('.chart canvas')
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  let count = 0
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200 && data[at + 2] - data[at] > 60) count++
  return count
})()`

/** Texts whose contrast with what lies behind them is below 4.5 (WCAG 2.2 AA). */
const faintTexts = `(() => {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1)
    context.fillStyle = color
    context.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1]
  const backOf = (element) => {
    if (element === null) return rgba('white')
    const own = rgba(getComputedStyle(element).backgroundColor)
    return own[3] === 1 ? own : over(own, backOf(element.parentElement))
  }
  const light = ([r, g, b]) => [r, g, b].reduce((sum, part, index) => {
    const value = part / 255
    return sum + [0.2126, 0.7152, 0.0722][index] * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  }, 0)
  const found = new Set()
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (walker.currentNode.data.trim() === '' || element.closest('.visually-hidden, [hidden], script, noscript') !== null) continue
    const back = backOf(element)
    const [one, two] = [light(over(rgba(getComputedStyle(element).color), back)), light(back)].toSorted((a, b) => b - a)
    const contrast = (one + 0.05) / (two + 0.05)
    if (contrast < 4.5) found.add(contrast.toFixed(2) + ' ' + walker.currentNode.data)
  }
  return [...found]
})()`
