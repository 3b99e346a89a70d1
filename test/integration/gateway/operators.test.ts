// The routes for operators: probes, metrics, and the dashboard with its check.
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/index.ts'
import { createGateway, toNodeHandler, type GatewayPorts } from '../../../src/gateway/index.ts'

const closing: (() => Promise<unknown>)[] = []
let folder: string
const errors: string[] = []

beforeEach(async () => {
  errors.length = 0
  folder = await mkdtemp(join(tmpdir(), 'lockstep-page-'))
  closing.push(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'page/assets/deeper'), { recursive: true })
  await writeFile(join(folder, 'secret.js'), 'SECRET')
  await writeFile(join(folder, 'page/index.html'), '<!doctype html>the page')
  await writeFile(join(folder, 'page/beside.js'), 'SECRET')
  await writeFile(join(folder, 'page/assets/index-abc123.js'), 'code()')
  await writeFile(join(folder, 'page/assets/notes.txt'), 'SECRET')
  await writeFile(join(folder, 'page/assets/.hidden.js'), 'hidden')
  await writeFile(join(folder, 'page/assets/deeper/x.js'), 'SECRET')
  await symlink(join(folder, 'secret.js'), join(folder, 'page/assets/link.js'))
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const gateway = (ports: Partial<GatewayPorts>): ReturnType<typeof createGateway> =>
  createGateway({
    ports: {
      logger: { ...silentLogger, error: (_fields: object, message: string) => void errors.push(message) },
      status: () => 'ok',
      health: async () => ({ status: 'ok' }),
      ...ports,
    } as GatewayPorts,
  })

const get = (ports: Partial<GatewayPorts>, path: string, init?: RequestInit): Promise<Response> =>
  gateway(ports).fetch(new Request(`http://any${path}`, init))

const open = (more: Partial<NonNullable<GatewayPorts['dashboard']>> = {}): Partial<GatewayPorts> => ({
  dashboard: {
    authorize: () => true,
    data: async (minutes) => ({ minutes }),
    folder: pathToFileURL(`${folder}/page/`),
    ...more,
  },
})

describe('probes', () => {
  test('live: 200 while the process runs, also when nothing else does', async () => {
    const broken = gateway({ status: () => Promise.reject(new Error('no database')) })
    await broken.close()
    const response = await broken.fetch(new Request('http://any/lockstep/health?probe=live'))
    expect([response.status, await response.json()]).toEqual([200, { probe: 'live', live: true }])
  })

  test.each([
    ['ok', 200],
    ['degraded', 503],
    ['stopping', 503],
  ] as const)('ready: %s is %i', async (status, code) => {
    const response = await get({ status: () => status }, '/lockstep/health?probe=ready')
    expect([response.status, await response.json()]).toEqual([
      code,
      { probe: 'ready', ready: code === 200, status },
    ])
    expect(response.headers.get('cache-control')).toBe('no-store')
  })

  test('ready: 503 when the check fails, when it never answers, and as soon as the gateway closes', async () => {
    const failing = await get(
      { status: () => Promise.reject(new Error('db.internal')) },
      '/lockstep/health?probe=ready',
    )
    expect([failing.status, await failing.text()]).toEqual([503, '{"status":"unavailable"}'])
    const hanging = await get({ status: () => new Promise(() => {}) }, '/lockstep/health?probe=ready')
    expect([hanging.status, await hanging.text()]).toEqual([503, '{"status":"unavailable"}'])
    const closed = gateway({})
    await closed.close()
    expect((await closed.fetch(new Request('http://any/lockstep/health?probe=ready'))).status).toBe(503)
  })

  test('another one is 400', async () => {
    expect((await get({}, '/lockstep/health?probe=started')).status).toBe(400)
  })
})

describe('metrics', () => {
  const metrics = async () => ({ contentType: 'text/plain; version=0.0.4', body: 'lockstep_score 1\n' }) // prettier-ignore

  test('are closed by default, and 404 where none are kept', async () => {
    const closed = await get({ metrics }, '/lockstep/metrics')
    expect([closed.status, await closed.text()]).toEqual([
      403,
      expect.stringContaining('metrics: { authorize:'),
    ])
    expect((await get({}, '/lockstep/metrics')).status).toBe(404)
  })

  test('are open to whom metrics.authorize lets in, and written at most once a second', async () => {
    let written = 0
    const one = gateway({
      metrics: () => {
        written += 1
        return metrics()
      },
      authorizeMetrics: () => true,
    })
    for (let n = 0; n < 20; n += 1) {
      const response = await one.fetch(new Request('http://any/lockstep/metrics'))
      expect([response.status, await response.text()]).toEqual([200, 'lockstep_score 1\n'])
      expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4')
    }
    expect(written).toBeLessThan(3)
  })

  test('are closed to all others, by the request', async () => {
    const authorizeMetrics = (request: Request): boolean =>
      request.headers.get('authorization') === 'Bearer right'
    const ask = (authorization: string): Promise<Response> =>
      get({ metrics, authorizeMetrics }, '/lockstep/metrics', { headers: { authorization } })
    expect((await ask('Bearer right')).status).toBe(200)
    const refused = await ask('Bearer wrong')
    expect([refused.status, await refused.text()]).toEqual([403, 'metrics.authorize said no.\n'])
  })

  test('a failure is 500, shows nothing and is logged', async () => {
    const response = await get(
      { metrics: () => Promise.reject(new Error('db.internal')), authorizeMetrics: () => true },
      '/lockstep/metrics',
    )
    expect([response.status, await response.text()]).toEqual([500, 'The metrics cannot be read right now.\n'])
    expect(errors).toEqual(['metrics failed: db.internal'])
  })
})

describe('the dashboard', () => {
  const paths = ['/lockstep/dashboard', '/lockstep/dashboard/', '/lockstep/dashboard/assets/index-abc123.js']
  const data = async (): Promise<object> => ({})

  test.each([...paths, '/lockstep/dashboard/data', '/lockstep/dashboard/nope'])(
    'is closed by default and says how to open it: %s',
    async (path) => {
      for (const ports of [{}, { dashboard: { data } }]) {
        const response = await get(ports, path)
        expect(response.status).toBe(403)
        expect(await response.text()).toContain('createLockstep({ dashboard: { authorize: (request) =')
        expect(response.headers.get('cache-control')).toBe('no-store')
      }
    },
  )

  test.each([
    ['no', () => false],
    ['a late no', async () => false],
    ['what is not true', (() => 'yes') as never],
    ['an object', (() => ({ admin: true })) as never],
    ['a throw', () => { throw new Error('session store') }], // prettier-ignore
    ['a rejection', () => Promise.reject(new Error('session store'))],
  ])('is closed for %s', async (_name, authorize) => {
    for (const path of paths) {
      const response = await get(open({ authorize }), path)
      expect(response.status).toBe(403)
      const text = await response.text()
      expect(text).toContain('authorize said no')
      expect(text).not.toContain('session store')
    }
    const response = await get(open({ authorize }), '/lockstep/dashboard/data')
    expect([response.status, await response.json()]).toMatchObject([403, { code: 'LS_FORBIDDEN' }])
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
  })

  test('asks for each request, with its headers', async () => {
    const asked: string[] = []
    const authorize = (request: Request): boolean => {
      asked.push(new URL(request.url).pathname)
      return request.headers.get('cookie') === 'admin=1'
    }
    for (const path of paths) {
      expect((await get(open({ authorize }), path, { headers: { cookie: 'admin=1' } })).status).toBe(200)
      expect((await get(open({ authorize }), path)).status).toBe(403)
    }
    expect(asked).toEqual(paths.flatMap((path) => [path, path]))
  })

  test('page, asset and data', async () => {
    const page = await get(open(), '/lockstep/dashboard')
    expect(await page.text()).toBe('<!doctype html>the page')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(page.headers.get('cache-control')).toBe('no-store')
    const asset = await get(open(), '/lockstep/dashboard/assets/index-abc123.js')
    expect(await asset.text()).toBe('code()')
    expect(asset.headers.get('content-type')).toBe('text/javascript; charset=utf-8')
    expect(asset.headers.get('cache-control')).toBe('private, max-age=31536000, immutable')
    expect(await (await get(open(), '/lockstep/dashboard/data')).json()).toEqual({ minutes: 60 })
    expect(await (await get(open(), '/lockstep/dashboard/data?minutes=5')).json()).toEqual({ minutes: 5 })
  })

  test.each([...paths, '/lockstep/dashboard/data', '/lockstep/dashboard/nope'])(
    '%s: headers',
    async (path) => {
      for (const ports of [{}, open()]) {
        const { headers } = await get(ports, path)
        const policy = headers.get('content-security-policy') ?? ''
        expect(policy).toContain("default-src 'none'")
        expect(policy).toContain("frame-ancestors 'none'")
        expect(policy).not.toMatch(/unsafe|\*/)
        expect(headers.get('x-content-type-options')).toBe('nosniff')
        expect(headers.get('x-frame-options')).toBe('DENY')
        expect(headers.get('referrer-policy')).toBe('no-referrer')
      }
    },
  )

  test.each([
    '0',
    '-1',
    '1.5',
    '10081',
    '1e3',
    'NaN',
    '',
    '9'.repeat(400),
    '0x10',
    ' 5',
    'null',
    '5&minutes=6x',
  ])('minutes=%s', async (minutes) => {
    const response = await get(open(), `/lockstep/dashboard/data?minutes=${minutes}`)
    // The last of these texts asks for 5 minutes first.
    expect(response.status).toBe(minutes.startsWith('5') ? 200 : 400)
  })

  test('data that cannot be read is 503 with a code, shows nothing and is logged', async () => {
    const response = await get(
      open({ data: () => Promise.reject(new Error('db.internal')) }),
      '/lockstep/dashboard/data',
    )
    expect(response.status).toBe(503)
    expect(await response.text()).not.toContain('db.internal')
    expect(errors).toEqual([`the dashboard's data cannot be read: db.internal`])
  })

  test('a page that is not built is 404 and says so', async () => {
    const ports = open({ folder: pathToFileURL(`${folder}/nowhere/`) })
    const page = await get(ports, '/lockstep/dashboard')
    expect([page.status, await page.text()]).toEqual([
      404,
      expect.stringMatching(/is not built.*npm run build/),
    ])
    expect((await get(ports, '/lockstep/dashboard/assets/index-abc123.js')).status).toBe(404)
  })
})

test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('%s is 405 everywhere', async (method) => {
  let asked = 0
  const ports = open({ data: async () => asked++ })
  for (const path of [
    'health',
    'metrics',
    'dashboard',
    'dashboard/data',
    'dashboard/assets/index-abc123.js',
  ]) {
    const response = await get(ports, `/lockstep/${path}`, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  }
  expect(asked).toBe(0)
})

test('HEAD answers as GET, without the body', async () => {
  for (const path of ['health', 'dashboard', 'dashboard/assets/index-abc123.js', 'dashboard/data']) {
    const response = await get(open(), `/lockstep/${path}`, { method: 'HEAD' })
    expect([response.status, await response.text()]).toEqual([200, ''])
  }
})

describe('paths on a real socket, as no browser would send them', () => {
  let port: number

  beforeEach(async () => {
    const server = createServer(toNodeHandler(gateway(open())))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
    closing.push(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
  })

  const raw = (path: string): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port, path }, (response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        )
      })
      request.on('error', reject)
      request.end()
    })

  const assets = '/lockstep/dashboard/assets/'
  test.each([
    '../beside.js',
    '../../secret.js',
    '..%2fbeside.js',
    '..%2f..%2fsecret.js',
    '%2e%2e/%2e%2e/secret.js',
    '%2e%2e%2f%2e%2e%2fsecret.js',
    '..%5c..%5csecret.js',
    '..%252f..%252fsecret.js',
    '....//....//secret.js',
    './/../beside.js',
    '%2fetc%2fpasswd',
    '/etc/passwd',
    'deeper/x.js',
    'deeper%2fx.js',
    'deeper',
    'link.js',
    'notes.txt',
    'index-abc123.js%00',
    'index-abc123.js%00.png',
    'index-abc123.js/',
    'index-abc123.js/..%2f..%2fbeside.js',
    'INDEX-ABC123.JS',
    '%ff',
    '%',
    '%c0%ae%c0%ae/secret.js',
    'index-abc123.js;x=1',
    '__proto__',
    'constructor',
    '',
    '.',
    '..',
    'a'.repeat(8_000),
  ])('%.80s is not served', async (name) => {
    const { status, headers, body } = await raw(assets + name)
    expect([200, 404]).toContain(status)
    expect(body).not.toContain('SECRET')
    expect(body).not.toContain('code()')
    // Names that the rules for URLs lead back to the page are answered with the page.
    expect(status === 200 ? body : '').toMatch(/^(?:<!doctype html>the page)?$/)
    expect(headers['x-powered-by']).toBe(undefined)
  })

  test('the file itself is served, whatever its query', async () => {
    expect((await raw(`${assets}index-abc123.js?v=../../secret.js`)).body).toBe('code()')
  })
})
