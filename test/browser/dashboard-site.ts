// The built page behind the policy that the gateway sends with it, and an answer that the test decides.
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const base = '/lockstep/dashboard'
const configFile = fileURLToPath(new URL('../../dashboard/vite.config.ts', import.meta.url))
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

export interface Answer {
  readonly status?: number
  /** Body of the answer; a string is sent as it is. */
  readonly body: unknown
}

export class DashboardSite {
  readonly url: string
  /** Answers the page's question, given the minutes that the page asks for. */
  answer: (minutes: number) => Answer | Promise<Answer>
  /** Minutes of each question. */
  readonly asked: number[] = []
  readonly #server: Server
  readonly #folder: string

  private constructor(server: Server, folder: string, answer: (minutes: number) => Answer) {
    this.#server = server
    this.#folder = folder
    this.answer = answer
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${base}`
  }

  static async start(answer: (minutes: number) => Answer): Promise<DashboardSite> {
    const folder = await mkdtemp(join(tmpdir(), 'lockstep-test-dashboard-'))
    await buildPage(folder)
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const site = new DashboardSite(server, folder, answer)
    server.on('request', (request, response) => {
      site.#reply(new URL(request.url ?? '/', site.url)).then(
        ({ status, type, body }) => {
          response.writeHead(status, { 'Content-Type': type, 'Content-Security-Policy': policy })
          return response.end(body)
        },
        () => response.writeHead(404).end(),
      )
    })
    return site
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #reply(url: URL): Promise<{ status: number; type: string; body: string | Buffer }> {
    if (url.pathname === `${base}/data`) {
      const minutes = Number(url.searchParams.get('minutes'))
      this.asked.push(minutes)
      const { status = 200, body } = await this.answer(minutes)
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      return { status, type: 'application/json', body: text }
    }
    const file = normalize(url.pathname.slice(base.length) || '/index.html')
    return { status: 200, type: types[extname(file)] ?? '', body: await readFile(join(this.#folder, file)) }
  }
}

async function buildPage(folder: string): Promise<void> {
  const before = process.env['NODE_ENV']
  // Vitest's own value would build the page with the development version of React.
  process.env['NODE_ENV'] = 'production'
  try {
    await build({ configFile, logLevel: 'warn', build: { outDir: folder, emptyOutDir: true } })
  } finally {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  }
}
