import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import {
  detach,
  guarded,
  isLockstepError,
  jsonLogger,
  messageOf,
  toPlain,
  totalLogger,
} from '../../../src/core/index.ts'
import { fromWireError, readable } from '../../../src/client/errors.ts'
import { Listeners } from '../../../src/client/listeners.ts'
import { databaseErrorCode, toLockstepError } from '../../../src/postgres/index.ts'
import { isErrorResponse } from '../../../src/postgres/sqlstate.ts'
import { failureCode } from '../../../src/transaction/settle/notice.ts'
import { thrownValues } from '../../support/thrown.ts'

const lines: string[] = []

beforeEach(() => {
  lines.length = 0
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => lines.push(String(line)) > 0)
})
afterEach(() => {
  vi.restoreAllMocks()
})

const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('whatever is thrown has a text, a code and a line in the log', () => {
  fc.assert(
    fc.property(thrownValues, (make) => {
      const thrown = make()
      expect(typeof messageOf(thrown)).toBe('string')
      expect(failureCode(thrown)).toMatch(/^LS_/)
      expect(toLockstepError(thrown).code).toMatch(/^LS_/)
      for (const look of [databaseErrorCode, isErrorResponse, isLockstepError, fromWireError]) look(thrown)
      expect(() => JSON.stringify(toPlain(thrown))).not.toThrow()
      jsonLogger.error({ error: thrown, nested: { thrown } }, 'something failed')
      expect(JSON.parse(lines.pop() ?? '')).toMatchObject({ level: 'error', message: 'something failed' })
    }),
    { numRuns: 500 },
  )
})

test('a line of the log names what an error says, and no more of it than that', () => {
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED', client: { password: 'hunter2' } })
  jsonLogger.error({ error: new Error('no database', { cause }), size: 10n }, 'not started')
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  expect(line).toMatchObject({
    error: { message: 'no database', cause: { message: 'refused', code: 'ECONNREFUSED' } },
    size: '10n',
  })
  expect(lines[0]).not.toContain('hunter2')
})

test('a logger that throws, rejects or lacks its methods ends nothing, and its lines are not lost', async () => {
  await fc.assert(
    fc.asyncProperty(thrownValues, async (make) => {
      const loggers = [
        {
          error: () => {
            throw make()
          },
        },
        {
          error: async () => {
            throw make()
          },
        },
        { error: 'not a function' },
        {},
        new Proxy(
          {},
          {
            get: () => {
              throw make()
            },
          },
        ),
      ]
      for (const logger of loggers) {
        lines.length = 0
        totalLogger(logger as never).error({ error: make() }, 'a line that counts')
        await later()
        expect(lines.some((line) => line.includes('a line that counts'))).toBe(true)
      }
    }),
    { numRuns: 100 },
  )
})

test('a logger is wrapped once, and keeps its `this`', () => {
  class Kept {
    readonly lines: string[] = []
    error(_fields: object, message: string): void {
      this.lines.push(message)
    }
  }
  const kept = new Kept()
  const logger = totalLogger(kept as never)
  expect(totalLogger(logger)).toBe(logger)
  logger.error({}, 'heard')
  expect(kept.lines).toEqual(['heard'])
})

test('work that is let go of, and callbacks of the application, reject and throw at nobody', async () => {
  await fc.assert(
    fc.asyncProperty(thrownValues, async (make) => {
      const heard: unknown[] = []
      const logger = totalLogger({ ...jsonLogger, error: ({ error }) => heard.push(error) })
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- whatever it is
      detach(Promise.reject(make()), logger, 'it')
      guarded(
        () => {
          throw make()
        },
        logger,
        'it',
      )()
      guarded(
        async () => {
          throw make()
        },
        logger,
        'it',
      )()
      const listeners = new Listeners<[]>((error) => heard.push(error))
      listeners.add(() => {
        throw make()
      })
      listeners.add((): unknown =>
        Promise.resolve().then(() => {
          throw make()
        }),
      )
      listeners.emit()
      await later()
      expect(heard).toHaveLength(5)
    }),
    { numRuns: 100 },
  )
})

test('what getToken throws is handed on as an error that has a text, whatever it was', () => {
  fc.assert(
    fc.property(thrownValues, (make) => {
      expect(String(readable(make()))).toMatch(/./)
    }),
    { numRuns: 500 },
  )
})
