// Alerts against a real HTTP receiver, and with a signature that is computed here once more.
import { createHmac } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { silentLogger, systemClock } from '../../../src/core/index.ts'
import {
  type WebhookOptions,
  createAlerter,
  type Alert,
  type Alerter,
  type AlertOptions,
} from '../../../src/monitor/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { LogLines, WebhookReceiver, type Received } from '../../support/webhook-receiver.ts'

const secret = `whsec_${Buffer.from('a key of thirty-two bytes exactly').toString('base64')}`
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()))
})

async function receive(...[answer]: ConstructorParameters<typeof WebhookReceiver>): Promise<WebhookReceiver> {
  const receiver = await new WebhookReceiver(answer).start()
  closing.push(() => receiver.stop())
  return receiver
}

const fast = { retryBaseMs: 5, timeoutMs: 2_000 }

function start(
  webhook?: Partial<WebhookOptions> & { readonly url: string },
  onAlert?: AlertOptions['onAlert'],
  clock = systemClock,
): { readonly tell: Alerter; readonly lines: LogLines } {
  const lines = new LogLines()
  const tell = createAlerter({
    logger: lines.logger,
    clock,
    ...(webhook === undefined ? {} : { webhook: { secret, ...fast, ...webhook } }),
    ...(onAlert === undefined ? {} : { onAlert }),
  })
  closing.push(() => tell.close())
  return { tell, lines }
}

const low = (id: string): Alert => ({
  id,
  kind: 'score_low',
  at: '2026-01-01T00:00:00.000Z',
  node: 'n1',
  score: 0.5,
  windowMinutes: 60,
  text: 'The score is 0.5.',
})

const violation = (id: string, kind: 'isolation' | 'cache_stale' = 'isolation'): Alert => ({
  id,
  kind: 'violation',
  at: '2026-01-01T00:00:00.000Z',
  node: 'n1',
  violation: { kind, count: 1, operationId: id },
  text: `operation ${id} was shown to a stranger`,
})

/** Verifies the signature as a receiver does that knows only the specification. */
function isSigned({ headers, body }: Received, key: Buffer): boolean {
  const content = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
  const expected = createHmac('sha256', key).update(content, 'utf8').digest('base64')
  return headers['webhook-signature'] === `v1,${expected}`
}

const keyOf = (text: string): Buffer => Buffer.from(text.slice('whsec_'.length), 'base64')

describe('webhook', () => {
  test('an alert arrives as JSON, signed as Standard Webhooks has it', async () => {
    const receiver = await receive((response) => response.writeHead(204).end())
    const { tell } = start({
      url: receiver.url,
      headers: { Authorization: 'Bearer x', 'webhook-id': 'forged' },
    })
    tell(low('a'))
    await receiver.count(1)
    const [got] = receiver.received as [Received]
    expect(JSON.parse(got.body)).toEqual({
      type: 'lockstep.score_low',
      timestamp: '2026-01-01T00:00:00.000Z',
      data: low('a'),
    })
    expect(got.headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': 'a',
      authorization: 'Bearer x',
    })
    expect(Math.abs(Number(got.headers['webhook-timestamp']) - Date.now() / 1_000)).toBeLessThan(60)
    expect(isSigned(got, keyOf(secret))).toBe(true)
    expect(isSigned({ ...got, body: `${got.body} ` }, keyOf(secret))).toBe(false)
    expect(isSigned(got, Buffer.from('another key of some length'))).toBe(false)
  })

  test('a secret of plain text is used by its bytes', async () => {
    const receiver = await receive((response) => response.end())
    const { tell } = start({ url: receiver.url, secret: 'ein längeres Geheimnis' })
    tell(low('a'))
    await receiver.count(1)
    expect(isSigned(receiver.received[0] as Received, Buffer.from('ein längeres Geheimnis', 'utf8'))).toBe(
      true,
    )
  })

  test('429, 5xx and broken connections are tried again with the same id and a signature of their own', async () => {
    const receiver = await receive((response, number) => {
      if (number === 1) response.writeHead(429).end()
      else if (number === 2) response.writeHead(503, { 'Retry-After': 'soon' }).end()
      else if (number === 3) response.socket?.resetAndDestroy()
      else response.end()
    })
    const { tell, lines } = start({ url: receiver.url })
    tell(low('a'))
    const [recovered] = await lines.until(/takes alerts again/)
    expect(recovered?.fields).toEqual({ lost: 0 })
    expect(receiver.received.map(({ headers }) => headers['webhook-id'])).toEqual(['a', 'a', 'a', 'a'])
    expect(receiver.received.every((got) => isSigned(got, keyOf(secret)))).toBe(true)
    expect(lines.of(/do not get through/).map(({ fields }) => fields['reason'])).toEqual([
      'answered 429',
      'answered 503',
      expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/),
    ])
  })

  test('Retry-After is kept', async () => {
    const times: number[] = []
    const receiver = await receive((response, number) => {
      times.push(performance.now())
      if (number === 1) response.writeHead(503, { 'Retry-After': '1' }).end()
      else response.end()
    })
    const { tell } = start({ url: receiver.url })
    tell(low('a'))
    await receiver.count(2)
    const [first = 0, second = 0] = times
    expect(second - first).toBeGreaterThan(950)
  })

  test.each([400, 401, 404, 410])('%i is not tried again, and is said', async (status) => {
    const receiver = await receive((response, number) =>
      response.writeHead(number === 1 ? status : 200).end(),
    )
    const { tell, lines } = start({ url: receiver.url })
    tell(low('a'))
    tell(low('b'))
    const [recovered] = await lines.until(/takes alerts again/)
    expect(recovered?.fields).toEqual({ lost: 1 })
    expect(receiver.received.map(({ headers }) => headers['webhook-id'])).toEqual(['a', 'b'])
    expect(lines.of(/do not get through/)).toMatchObject([
      { level: 'error', fields: { reason: `answered ${status}; not tried again` } },
    ])
  })

  test('a redirect is not followed', async () => {
    const elsewhere = await receive((response) => response.end())
    const receiver = await receive((response) => response.writeHead(307, { Location: elsewhere.url }).end())
    const { tell, lines } = start({ url: receiver.url })
    tell(low('a'))
    await lines.until(/redirects are not followed; not tried again/)
    await tell.close()
    expect(elsewhere.received).toEqual([])
    expect(receiver.received).toHaveLength(1)
  })

  test('a receiver that is dead is said once, however many alerts, and once that it is back', async () => {
    const receiver = await receive((response) => response.end())
    const { url } = receiver
    await receiver.stop()
    const { tell, lines } = start({ url, retries: 1 })
    for (let n = 0; n < 20; n++) tell(low(`a${n}`))
    await lines.until(/do not get through/)
    // The queue is empty once the first alert after these is on its way.
    const back = await new WebhookReceiver((response) => response.end()).start(Number(new URL(url).port))
    closing.push(() => back.stop())
    for (let n = 0; back.received.length === 0; n++) {
      tell(low(`b${n}`))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await lines.until(/takes alerts again/)
    expect(lines.of(/do not get through.*ECONNREFUSED/)).toHaveLength(1)
    expect(lines.of(/takes alerts again/)).toHaveLength(1)
  })

  test('the path of the receiver, which may be a secret, is not in the log', async () => {
    const receiver = await receive((response) => response.writeHead(500).end())
    const { tell, lines } = start({ url: receiver.url, retries: 0 })
    tell(low('a'))
    await lines.until(/do not get through/)
    expect(JSON.stringify(lines.all)).not.toContain('s3cret-path')
    expect(lines.of(/do not get through/)[0]?.fields['receiver']).toBe(new URL(receiver.url).origin)
  })

  test('a receiver that never answers is given its time, and the next alert follows', async () => {
    const receiver = await receive((response, _number, { headers }) => {
      if (headers['webhook-id'] !== 'a') response.end()
    })
    const { tell, lines } = start({ url: receiver.url, timeoutMs: 500, retries: 2 })
    tell(low('a'))
    tell(low('b'))
    const [recovered] = await lines.until(/takes alerts again/)
    expect(recovered?.fields).toEqual({ lost: 1 })
    expect(lines.of(/no answer in 500 ms/)).toHaveLength(1)
  })

  test('an answer without an end is not read', async () => {
    const receiver = await receive((response) => {
      response.writeHead(200)
      response.write('x'.repeat(100_000))
    })
    const { tell, lines } = start({ url: receiver.url, timeoutMs: 1_000, retries: 0 })
    tell(low('a'))
    tell(low('b'))
    await receiver.count(2)
    expect(lines.of(/do not get through/)).toEqual([])
  })

  test('closing does not wait for a receiver that never answers', { timeout: 10_000 }, async () => {
    const receiver = await receive(() => {})
    const { tell, lines } = start({ url: receiver.url, timeoutMs: 60_000 })
    tell(low('a'))
    tell(low('b'))
    await receiver.count(1)
    const began = performance.now()
    await tell.close()
    expect(performance.now() - began).toBeLessThan(4_000)
    expect(lines.of(/closed with alerts/)).toMatchObject([{ fields: { alerts: 2 } }])
  })

  test('100,000 alerts for a receiver that never answers: little memory, and said once', async () => {
    const receiver = await receive(() => {})
    const { tell, lines } = start({ url: receiver.url, timeoutMs: 60_000, maxWaiting: 10 })
    for (let n = 0; n < 1_000; n++) tell(low(`warm-up ${n}`))
    const before = process.memoryUsage().heapUsed
    const logged = lines.all.length
    for (let n = 0; n < 100_000; n++) {
      tell(low(`a${n}`))
      lines.all.length = logged
    }
    // 4,096 ids and 10 alerts are kept; 100,000 alerts as JSON would be 20 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000)
    await tell.close()
    expect(lines.of(/closed with alerts/)).toMatchObject([{ fields: { alerts: 10 } }])
    // Counted from the beginning, as the lines of the flood itself were let go of.
    expect(lines.of(/do not get through to the webhook: more than 10 alerts wait/)).toHaveLength(1)
  })

  test.each([
    ['ftp://x.example/a', secret, {}],
    ['/relative', secret, {}],
    ['', secret, {}],
    ['javascript:alert(1)', secret, {}],
    ['https://user:pass@x.example/', secret, {}],
    ['https://x.example/', 'short', {}],
    ['https://x.example/', 'whsec_not base64 at all!', {}],
    ['https://x.example/', 'whsec_c2hvcnQ=', {}],
    ['https://x.example/', secret, { timeoutMs: 0 }],
    ['https://x.example/', secret, { retries: -1 }],
    ['https://x.example/', secret, { maxWaiting: Number.NaN }],
    ['https://x.example/', secret, { headers: { 'a b': 'c' } }],
    ['https://x.example/', secret, { headers: { a: 'line\r\nbreak: b' } }],
  ])('refused at the start: %s %s %j', (url, theSecret, more) => {
    const refuse = (): unknown =>
      createAlerter({
        logger: silentLogger,
        clock: systemClock,
        webhook: { url, secret: theSecret, ...(more as Partial<WebhookOptions>) },
      })
    expect(refuse).toThrow(expect.objectContaining({ code: 'LS_CONFIG_INVALID' }) as Error)
  })
})

describe('the log and the callback', () => {
  test('hear each alert; a low score is an error, its recovery is not', () => {
    const heard: Alert[] = []
    const { tell, lines } = start(undefined, (alert) => void heard.push(alert))
    const recovered: Alert = { ...low('b'), kind: 'score_recovered' }
    tell(low('a'))
    tell(recovered)
    expect(heard).toEqual([low('a'), recovered])
    expect(lines.all.map(({ level }) => level)).toEqual(['error', 'info'])
    expect(lines.all[0]).toMatchObject({ message: 'The score is 0.5.', fields: { id: 'a', score: 0.5 } })
  })

  test.each([
    ['throws', () => { throw new Error('broken callback') }], // prettier-ignore
    ['rejects', () => Promise.reject(new Error('broken callback'))],
  ])('a callback that %s is logged', async (_name, onAlert) => {
    const { tell, lines } = start(undefined, onAlert)
    expect(() => tell(low('a'))).not.toThrow()
    expect(await lines.until(/onAlert failed: broken callback/)).toMatchObject([{ fields: { alert: 'a' } }])
  })

  test('the same id is sent once', () => {
    const heard: string[] = []
    const { tell } = start(undefined, ({ id }) => void heard.push(id))
    for (const id of ['a', 'b', 'a', 'a', 'b']) tell(low(id))
    expect(heard).toEqual(['a', 'b'])
  })

  test('nothing is sent after closing', async () => {
    const heard: string[] = []
    const { tell } = start(undefined, ({ id }) => void heard.push(id))
    await tell.close()
    tell(low('a'))
    expect(heard).toEqual([])
  })
})

describe('violations', () => {
  const world = (): { readonly clock: ManualClock; readonly heard: Alert[]; readonly tell: Alerter } => {
    const clock = new ManualClock()
    const heard: Alert[] = []
    const { tell } = start(undefined, (alert) => void heard.push(alert), clock)
    return { clock, heard, tell }
  }
  const counts = (heard: readonly Alert[]): unknown[] =>
    heard.map(({ violation: found }) => [found?.kind, found?.count])

  test('of one kind are sent once a minute, with the count since; each kind for itself', () => {
    const { clock, heard, tell } = world()
    for (let n = 0; n < 5; n++) tell(violation(`i${n}`))
    tell(violation('c0', 'cache_stale'))
    expect(counts(heard)).toEqual([['isolation', 1], ['cache_stale', 1]]) // prettier-ignore
    clock.advance(59_999)
    expect(heard).toHaveLength(2)
    clock.advance(1)
    expect(counts(heard).slice(2)).toEqual([['isolation', 4]])
    expect(heard[2]?.text).toMatch(/^4 times since the last alert.*operation i4/)
    tell(violation('i5'))
    clock.advance(60_000)
    expect(counts(heard).slice(3)).toEqual([['isolation', 1]])
    // The next alert after a minute without any is told at once.
    clock.advance(60_000)
    tell(violation('i6'))
    expect(counts(heard).slice(4)).toEqual([['isolation', 1]])
  })

  test('the same one is counted once', () => {
    const { clock, heard, tell } = world()
    for (const id of ['a', 'a', 'b', 'b', 'c']) tell(violation(id))
    clock.advance(60_000)
    expect(counts(heard)).toEqual([['isolation', 1], ['isolation', 2]]) // prettier-ignore
    expect(new Set(heard.map(({ id }) => id)).size).toBe(2)
  })

  test('what is still counted is sent at closing', async () => {
    const { heard, tell } = world()
    for (let n = 0; n < 5; n++) tell(violation(`i${n}`))
    await tell.close()
    expect(counts(heard)).toEqual([['isolation', 1], ['isolation', 4]]) // prettier-ignore
  })

  test('a flood of 100,000 is two alerts, and none is lost from the count', async () => {
    const receiver = await receive((response) => response.end())
    // The clock runs a thousand times as fast: the minute between alerts is over as soon as the flood is.
    const clock = {
      ...systemClock,
      after: (ms: number, work: () => void) => systemClock.after(ms / 1_000, work),
    }
    const { tell, lines } = start({ url: receiver.url, timeoutMs: 5_000_000 }, undefined, clock)
    const before = process.memoryUsage().heapUsed
    for (let n = 0; n < 100_000; n++) tell(violation(`i${n}`))
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000)
    await receiver.count(2)
    await tell.close()
    expect(lines.all).toHaveLength(2)
    const sent = receiver.received.map(
      ({ body }) => (JSON.parse(body) as { data: Alert }).data.violation?.count,
    )
    expect(sent).toEqual([1, 99_999])
  })

  test('a flood does not make an older alert of the score be sent again', () => {
    const { heard, tell } = world()
    tell(low('s'))
    for (let n = 0; n < 10_000; n++) tell(violation(`i${n}`))
    tell(low('s'))
    expect(heard.filter(({ kind }) => kind === 'score_low')).toHaveLength(1)
  })
})
