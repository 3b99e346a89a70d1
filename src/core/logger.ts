import { peek, toPlain } from './thrown.ts'

/** Receives what an operator should know. The shape of pino and of console. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

type Level = keyof Logger
type Write = Logger[Level]

const levels: readonly Level[] = ['debug', 'info', 'warn', 'error']
const noop = (): void => {}

export const silentLogger: Logger = { debug: noop, info: noop, warn: noop, error: noop }

/** Writes one JSON object a line to standard error. */
export const jsonLogger: Logger = {
  debug: noop,
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
}

function write(level: Level, fields: Readonly<Record<string, unknown>>, message: string): void {
  const facts = Object(toPlain(fields)) as Readonly<Record<string, unknown>>
  const line = JSON.stringify({ level, at: new Date().toISOString(), message, ...facts })
  process.stderr.write(`${line}\n`)
}

const total = new WeakSet<Logger>([silentLogger, jsonLogger])

/**
 * The application's logger, made safe to call where an error is being dealt with: one that throws, rejects or lacks a
 * method ends nothing. A line that it did not take goes to `jsonLogger`.
 */
export function totalLogger(logger: Logger): Logger {
  if (total.has(logger)) return logger
  const safe = Object.fromEntries(
    levels.map((level) => [level, safeWrite(logger, level)]),
  ) as unknown as Logger
  total.add(safe)
  return safe
}

function safeWrite(logger: Logger, level: Level): Write {
  return (fields, message) => {
    const refused = (error: unknown): void => {
      jsonLogger[level](fields, message)
      jsonLogger.error({ error, level }, 'the logger given to Lockstep did not take the line above')
    }
    // Read at each call: some loggers replace their methods when their level changes.
    const method = peek(logger, level)
    if (typeof method !== 'function') return jsonLogger[level](fields, message)
    try {
      const answer: unknown = Reflect.apply(method, logger, [fields, message])
      if (isThenable(answer)) Promise.resolve(answer).catch(refused)
    } catch (error) {
      refused(error)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof peek(value, 'then') === 'function'
}
