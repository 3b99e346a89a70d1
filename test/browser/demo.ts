// The real demo as a child process, with a data directory and a port of its own, and Chromium to look at it with.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'

const startScript = fileURLToPath(new URL('../../scripts/start.mjs', import.meta.url))
const chromiumArguments = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Time for a start, before which the demo may have to be built. */
export const startTimeoutMs = 180_000

export class Demo {
  readonly url: string
  readonly #port: number
  readonly #directory: string
  #child: ChildProcess

  private constructor(port: number, directory: string, child: ChildProcess) {
    this.url = `http://localhost:${port}`
    this.#port = port
    this.#directory = directory
    this.#child = child
  }

  static async start(): Promise<Demo> {
    const directory = await mkdtemp(join(tmpdir(), 'lockstep-test-demo-'))
    const port = await freePort()
    return new Demo(port, directory, await run(port, directory))
  }

  /** Kills the demo by SIGKILL: nothing is flushed, told or given back. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  /** Resolves when the demo has ended by itself. */
  async died(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }

  /** Starts the demo again on the same port and the same data. */
  async startAgain(): Promise<void> {
    this.#child = await run(this.#port, this.#directory)
  }

  /**
   * Stops the demo.
   * @returns the exit code
   */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM')
      await once(this.#child, 'exit')
    }
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    return this.#child.exitCode
  }
}

async function run(port: number, directory: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [startScript], {
    env: {
      ...process.env,
      // Vitest's own value would build the page with the development version of React.
      NODE_ENV: 'production',
      PORT: String(port),
      LOCKSTEP_DATA_DIR: directory,
      DATABASE_URL: '',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise<void>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout })
    lines.on('line', (line) => {
      if (line.includes(`http://localhost:${port}`)) resolve()
    })
    child.once('exit', (code) => {
      reject(new Error(`the demo ended with code ${code} before it served`))
    })
  })
  return child
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium',
    args: chromiumArguments,
  })
}

/** A person at a page of their own browser profile. */
export class Person {
  page: Page

  private constructor(page: Page) {
    this.page = page
  }

  /** Opens a second page in the same browser profile. */
  async openAgain(demo: Demo): Promise<void> {
    this.page = await this.page.context().newPage()
    await this.page.goto(demo.url)
    await this.connected()
  }

  /** Signs in by typing a name, as a person does. */
  static async signIn(
    browser: Browser,
    demo: Demo,
    name: string,
    options: BrowserContextOptions = {},
  ): Promise<Person> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 820 }, ...options })
    const page = await context.newPage()
    await page.goto(demo.url)
    await page.getByLabel('Your name').fill(name)
    await page.keyboard.press('Enter')
    const person = new Person(page)
    await person.connected()
    return person
  }

  async connected(): Promise<void> {
    await this.page.locator('.badge[data-state=connected]').waitFor()
  }

  async say(body: string): Promise<void> {
    const field = this.page.getByRole('textbox', { name: /^Message / })
    await field.fill(body)
    await field.press('Enter')
  }

  /** Messages whose text holds `text`, in the order of the screen. */
  messages(text: string) {
    return this.page.locator('.message', { has: this.page.locator('.bubble', { hasText: text }) })
  }

  async sees(text: string): Promise<void> {
    await this.messages(text).first().waitFor()
  }

  async texts(containing: string): Promise<string[]> {
    return this.page.locator('.bubble', { hasText: containing }).allTextContents()
  }

  leave(): Promise<void> {
    return this.page.context().close()
  }
}
