// Mistakes of a user without types in calls on the server, and in the command: an error of the catalogue says what was given, and what to write.
import { createServer } from 'node:http'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { run } from '../../../src/cli/run.ts'
import { serverUser } from '../../../src/index.ts'
import { executeCoordinatedOperation } from '../../../src/plan.ts'
import {
  conversation,
  create,
  declareConversation,
  entry,
  refuses,
  secret,
  type Loose,
} from '../core/mistake-table.ts'

const input = z.object({ text: z.string() })
const work = async (): Promise<void> => {}
const execute = executeCoordinatedOperation as unknown as Loose
const node = create({ auth: { secret } })
const id = '0199f0c4-7f4e-7000-8000-000000000001'

describe('calls on the server', () => {
  const send = node.operation('send_message', { input, run: work }) as Record<'call' | 'within', Loose>
  const report = node.task('report', { input, run: work }) as Record<'start' | 'startIn', Loose>
  refuses('LS_CONFIG_INVALID', [
    ['a call without anything', () => send.call(), 'the call of "send_message"', 'undefined'],
    [
      'a call without user',
      () => send.call({ text: 'x' }, {}),
      'the call of "send_message" needs the option "user"',
      'serverUser',
    ],
    ['a call with an object without id', () => send.call({}, { user: { name: 'ada' } }), '"user"'],
    [
      'a call with the input alone',
      () => send.call({ text: 'x' }),
      'the call of "send_message" takes an object of options, and got undefined. Write send_message.call(input, { user }).',
    ],
    [
      'a call with the input among the options',
      () => send.call({ user: 'ada' }, { input: { text: 'x' }, user: 'ada' }),
      '"input" is no option of the call of "send_message"',
    ],
    [
      'a call with a misspelt option',
      () => send.call({}, { user: 'ada', operationId: id }),
      '"operationId"',
      '"id"',
    ],
    [
      'a call with a controller for the signal',
      () => send.call({}, { user: 'ada', signal: new AbortController() }),
      '"signal"',
      'AbortSignal',
    ],
    [
      'a start of a task without user',
      () => report.start({ text: 'x' }),
      'the start of "report" takes an object of options, and got undefined. Write report.start(input, { user }).',
    ],
    [
      'a start of a task with a misspelt option',
      () => report.start({ text: 'x' }, { user: 'ada', startsAt: new Date() }),
      '"startsAt"',
      '"startAt"',
    ],
    [
      'a start of a task at a time as text',
      () => report.start({ text: 'x' }, { user: 'ada', startAt: '2030-01-01' }),
      '"startAt"',
      'a Date',
    ],
    [
      'a start of a task in an operation, for another user',
      () => report.startIn({}, { text: 'x' }, { user: 'bob' }),
      '"user" is no option of the start of "report"',
    ],
    ['within without tx', () => send.within({ text: 'x' }), 'send_message.within(tx, input)'],
    ['a transaction without anything', () => node.transaction(), 'transaction', 'undefined'],
    ['a transaction without options', () => node.transaction(work), 'transaction', '{ name, user }'],
    [
      'a transaction without work',
      () => node.transaction({ name: 'a', user: 'ada' }),
      'transaction "a"',
      'a function',
    ],
    ['a transaction without user', () => node.transaction({ name: 'a' }, work), '"user"', 'serverUser'],
    ['a transaction without name', () => node.transaction({ user: 'ada' }, work), 'name', 'undefined'],
    [
      'a transaction with a misspelt option',
      () => node.transaction({ name: 'a', user: 'ada', timeout: 5 }, work),
      '"timeoutMs"',
    ],
    [
      'a transaction with a time as text',
      () => node.transaction({ name: 'a', user: 'ada', timeoutMs: '5' }, work),
      'the text "5"',
    ],
    ['a coordinated operation without anything', () => execute(node), 'executeCoordinatedOperation'],
    [
      'a coordinated operation without work',
      () => execute(node, { operationName: 'a' }),
      '"databaseOperation"',
    ],
    [
      'a coordinated operation with a misspelt option',
      () => execute(node, { operationName: 'a', databaseOperation: work, websocketEvent: [] }),
      '"websocketEvents"',
    ],
    [
      'a coordinated operation with one event',
      () =>
        execute(node, {
          operationName: 'a',
          databaseOperation: work,
          websocketEvents: {},
        }),
      '"websocketEvents"',
      'a list',
    ],
    [
      'a coordinated operation with an event that is none',
      () =>
        execute(node, {
          operationName: 'a',
          databaseOperation: work,
          websocketEvents: [null],
        }),
      '"websocketEvents[0]"',
      'null',
    ],
    [
      'a coordinated operation with a misspelt event',
      () =>
        execute(node, {
          operationName: 'a',
          databaseOperation: work,
          websocketEvents: [{ chanel: 1 }],
        }),
      '"websocketEvents[0].chanel"',
      '"websocketEvents[0].channel"',
    ],
    [
      'a call with a tenant that is a number',
      () => send.call({ text: 'x' }, { user: { id: 'ada', tenant: 5 } }),
      '"user.tenant"',
      'the number 5',
    ],
    [
      'a transaction with a tenant that is null',
      () => node.transaction({ name: 'a', user: { id: 'ada', tenant: null } }, work),
      '"user.tenant"',
      'Leave it out',
    ],
    [
      'a call with a session that is an object',
      () => send.call({ text: 'x' }, { user: { id: 'ada', sessionId: {} } }),
      '"user.sessionId"',
    ],
    ['a revocation of nothing', () => node.revoke(), 'revoke', 'undefined'],
    ['a revocation of a name', () => node.revoke('ada'), 'revoke({ user: "ada" })'],
    ['a revocation with a misspelt option', () => node.revoke({ user: 'ada', chanel: 'x' }), '"channel"'],
    [
      'a revocation of a channel object',
      () => node.revoke({ user: 'ada', channel: conversation({ id: '1' }) }),
      '"channel"',
      '.name',
    ],
    [
      'a revocation of an empty session',
      () => node.revoke({ user: 'ada', session: '' }),
      '"session"',
      'all sessions',
    ],
    [
      "a revocation of a user's own channel",
      () => node.revoke({ user: 'ada', channel: 'user:ada' }),
      '"user:ada"',
      'Leave "channel" out',
    ],
    ['a rollout of nothing', () => node.rollout.set(), 'operation', '"*"'],
    [
      'a rollout without a mode',
      () => node.rollout.set('send_message'),
      'lockstep.rollout.set("send_message", "enforce")',
      'undefined to go back',
    ],
    [
      'a rollout without a mode in its setting',
      () => node.rollout.set('send_message', {}),
      'enforce',
      'undefined',
    ],
    ['a rollout of null', () => node.rollout.set('send_message', null), 'enforce', 'null'],
    [
      'a rollout with a misspelt mode',
      () => node.rollout.set('send_message', 'Enforce'),
      '"enforce"',
      '"Enforce"',
    ],
    [
      'a rollout with a misspelt option',
      () => node.rollout.set('send_message', { mode: 'off', otherwize: 'off' }),
      '"otherwise"',
    ],
    [
      'a rollout of NaN',
      () => node.rollout.set('send_message', { mode: 'off', percentage: Number.NaN }),
      'NaN',
    ],
    ['an object for attach', () => node.attach({}), 'attach', 'lockstep.attach(server)'],
    ['nothing for attach', () => node.attach(), 'attach', 'undefined'],
    [
      'an Express app for attach',
      () => node.attach(Object.assign(() => {}, { listen() {}, on() {}, emit() {} })),
      'app.listen(',
      'lockstep.attach(server)',
    ],
    [
      'a Fastify app for attach',
      () => node.attach({ server: createServer(), listen() {} }),
      'lockstep.attach(app.server)',
    ],
    ['a port for attach', () => node.attach(3_000), 'the number 3000'],
    [
      'a request of Node for fetch',
      () => node.fetch({ url: '/lockstep/health' }),
      'fetch',
      'lockstep.handler()',
    ],
    ['a misspelt option of close', () => node.close({ drain: 5 }), '"drainMs"'],
    ['a time as text for close', () => node.close({ drainMs: '5' }), 'the text "5"'],
    ['a misspelt option of the score', () => node.health.score({ minutes: 5 }), '"windowMinutes"'],
    ['a window as text for the dashboard', () => node.health.dashboard({ minutes: '5' }), 'the text "5"'],
    ['a token without secret', () => entry('signToken')(undefined, 'ada', 60), 'signToken', 'secret'],
    ['a token without a life', () => entry('signToken')(secret, 'ada', '1h'), 'ttlSeconds', '"1h"'],
    ['a token without user', () => entry('signToken')(secret, { id: 'ada' }, 60), 'userId'],
    [
      'a token whose user and secret are swapped',
      () => entry('signToken')('ada', `swordfish ${secret}`, 60),
      'swapped',
      'signToken(secret, userId, ttlSeconds)',
    ],
    ['a token whose secret stands last', () => entry('signToken')(secret, 'ada', `swordfish`), 'ttlSeconds'],
    ['a token whose secret is a number', () => entry('signToken')(5, 'ada', `swordfish`), 'a number'],
  ])
  refuses('LS_USER_ID_INVALID', [
    ['a user id with a line break', () => send.call({ text: 'x' }, { user: 'a\nb' }), String.raw`"a\nb"`],
    ['an empty user id', () => send.call({ text: 'x' }, { user: '' }), '""'],
    ['a revocation of an empty user', () => node.revoke({ user: '' }), '""'],
    ['a token of an empty user', () => entry('signToken')(secret, '', 60), 'userId', 'an empty text'],
    [
      'a token whose user is longer than a user id may be',
      () => entry('signToken')(secret, 'swordfish'.repeat(50), 60),
      '450 characters',
      'signToken(secret, userId, ttlSeconds)',
    ],
    ['a token of a user that is no id', () => entry('signToken')(secret, 'swordfish\n', 60), 'userId'],
    ['a token of a user of Lockstep', () => entry('signToken')(secret, serverUser.id, 60), 'userId'],
  ])
  refuses('LS_OPERATION_ID_INVALID', [
    [
      'an id in capitals',
      () => send.call({ text: 'x' }, { user: 'ada', id: id.toUpperCase() }),
      id.toUpperCase(),
    ],
    ['a number for an id', () => send.call({ text: 'x' }, { user: 'ada', id: 7 }), 'the number 7'],
    [
      'emitUncommitted without an operation',
      () => node.emitUncommitted(conversation({ id: '1' }), 'sent', {}, {}),
      'undefined',
    ],
  ])
  refuses('LS_INPUT_INVALID', [
    [
      'an input that JSON cannot hold',
      () =>
        (node.operation('big', { input: z.any(), run: work }) as typeof send).call(
          { n: 1n },
          { user: serverUser },
        ),
      'JSON',
      'BigInt',
    ],
  ])
  refuses('LS_CHANNEL_INVALID', [
    [
      'emitUncommitted to a text',
      () => node.emitUncommitted('conversation:42', 'sent', {}, { operationId: id }),
      'emitUncommitted needs a channel, and got the text "conversation:42". Write conversation({ id: "42" }).',
    ],
    [
      'emitUncommitted to a family',
      () => node.emitUncommitted(conversation, 'sent', {}, { operationId: id }),
      'conversation({ id: … })',
    ],
    [
      'emitUncommitted to nothing',
      () => node.emitUncommitted(undefined, 'sent', {}, { operationId: id }),
      'undefined',
    ],
  ])
  const served = create({ auth: { secret } })
  declareConversation(served)
  refuses('LS_CHANNEL_NAME_INVALID', [
    [
      'a revocation of an empty channel',
      () => served.revoke({ user: 'ada', channel: '' }),
      'the text ""',
      'Leave it out to take everything',
    ],
    [
      'a revocation of a pattern',
      () => served.revoke({ user: 'ada', channel: 'conversation:{id}' }),
      '.name',
    ],
  ])
  refuses('LS_CHANNEL_UNKNOWN', [
    [
      'a revocation of a misspelt family',
      () => served.revoke({ user: 'ada', channel: 'conversatoin:42' }),
      '"conversatoin:42"',
      '"conversation:{id}"',
    ],
    [
      'a revocation where no channel is declared',
      () => node.revoke({ user: 'ada', channel: 'a:1' }),
      'lockstep.channel(pattern',
    ],
    [
      "a revocation of Lockstep's own channel",
      () => served.revoke({ user: 'ada', channel: 'lockstep:revocations' }),
      '"conversation:{id}"',
    ],
  ])
  refuses('LS_EVENT_UNKNOWN', [
    [
      'emitUncommitted of a misspelt event',
      () => node.emitUncommitted(conversation({ id: '42' }), 'send', {}, { operationId: id }),
      'Did you mean "sent"?',
    ],
    [
      'emitUncommitted of a symbol',
      () => node.emitUncommitted(conversation({ id: '42' }), Symbol('x'), {}, { operationId: id }),
      'a symbol',
    ],
  ])
})

describe('the command', () => {
  const said = async (args: readonly string[], url?: string): Promise<string> => {
    const lines: string[] = []
    const code = await run(args, {
      env: { DATABASE_URL: url },
      out: (line) => lines.push(line),
      error: (line) => lines.push(line),
    })
    expect(code).toBe(2)
    return lines.join('\n')
  }

  test.each([
    [
      'a misspelt command',
      ['epoch', 'renw'],
      undefined,
      'there is no command "epoch renw". Did you mean "epoch renew"?',
    ],
    ['a misspelt option', ['epoch', 'renew', '--shema', 'x'], undefined, '--schema'],
    ['a schema that cannot be', ['epoch', 'renew', '--schema', 'My Schema'], 'postgres://a', '"My Schema"'],
    ['an address that is none', ['epoch', 'renew'], 'my database', 'DATABASE_URL'],
    ['an address of another database', ['epoch', 'renew'], 'mysql://ada:hunter2@a/b', 'postgres://'],
  ])('%s: 2, and what to write', async (_, args, url, words) => {
    const text = await said(args, url)
    expect(text).toContain(words)
    expect(text).not.toContain('hunter2')
  })
})
