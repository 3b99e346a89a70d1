// A value in the wrong place may be a secret, and the text of an error goes to logs, and perhaps further.
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import * as lockstep from '../../../src/index.ts'

const secret = 'sUpErSeCrEt0123456789abcdefghijklmnop'
const pool = new pg.Pool({ connectionString: 'postgres://user@127.0.0.1:1/none' })
const database = lockstep.fromPool(pool)
afterAll(async () => {
  await database.close()
  await pool.end()
})

const create = (options: unknown): unknown => lockstep.createLockstep(options as never)
const withOptions = (options: object): unknown => create({ database, ...options })

test.each<[string, () => unknown]>([
  ['createLockstep', () => create(secret)],
  ['auth', () => withOptions({ auth: secret })],
  ['auth.secret', () => withOptions({ auth: { secret: [secret] } })],
  ['auth.publicKey', () => withOptions({ auth: { publicKey: { key: secret } } })],
  ['auth.jwks with a user', () => withOptions({ auth: { jwks: `https://user:${secret}@idp/keys` } })],
  ['auth.jwks with a key', () => withOptions({ auth: { jwks: `https://idp/keys?key=${secret}` } })],
  ['monitor', () => withOptions({ monitor: `https://hooks.example/${secret}` })],
  ['monitor.alerts', () => withOptions({ monitor: { alerts: `https://hooks.example/${secret}` } })],
  [
    'monitor.alerts.webhook',
    () => withOptions({ monitor: { alerts: { webhook: `https://hooks.example/${secret}` } } }),
  ],
  ['gateway', () => withOptions({ gateway: secret })],
  ['bus', () => withOptions({ bus: `redis://:${secret}@host` })],
  ['database as keys and values', () => create({ database: `host=db user=u password=${secret}` })],
  ['database as an address', () => create({ database: `postgres://u:${secret}@db/x` })],
  ['fromPool', () => lockstep.fromPool(`host=db password=${secret}` as never)],
  ['fromPglite', () => lockstep.fromPglite(`file:///${secret}` as never)],
  ['postgresBus', () => lockstep.postgresBus(`host=db password=${secret}` as never)],
  ['redisBus with an address', () => lockstep.redisBus(`redis://:${secret}@host` as never)],
  ['redisBus with keys and values', () => lockstep.redisBus(`host,password=${secret}` as never)],
  [
    'redisBus with a client as text',
    () => lockstep.redisBus({ publisher: secret, subscriber: secret } as never),
  ],
  ['gateway.allowedOrigins', () => withOptions({ gateway: { allowedOrigins: `https://u:${secret}@host` } })],
  ['fromPglite as an address', () => lockstep.fromPglite(`postgres://u:${secret}@db/x` as never)],
  ['createLockstep with a line of an .env file', () => create(`DATABASE_URL=postgres://u:${secret}@db/x`)],
  ['natsBus', () => lockstep.natsBus(`nats://token:${secret}@host` as never)],
])('%s given in the wrong way is refused without a word of it', (_entry, mistake) => {
  let refusal: unknown
  try {
    mistake()
  } catch (error) {
    refusal = error
  }
  expect(refusal).toMatchObject({ code: 'LS_CONFIG_INVALID' })
  expect((refusal as Error).message).not.toContain(secret.slice(0, 8))
})
