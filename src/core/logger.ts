/** Where Lockstep writes what an operator should know. The shape of pino and of console. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

const noop = (): void => {}

export const silentLogger: Logger = { debug: noop, info: noop, warn: noop, error: noop }

/** One JSON object a line on standard error. */
export const jsonLogger: Logger = {
  debug: noop,
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
}

function write(level: string, fields: Readonly<Record<string, unknown>>, message: string): void {
  const line = JSON.stringify({ level, at: new Date().toISOString(), message, ...fields }, plainErrors)
  process.stderr.write(`${line}\n`)
}

// Named fields only: a driver's error can carry its client, and with it the password.
function plainErrors(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value
  const { name, message, stack, cause } = value
  const { code, details } = value as { readonly code?: unknown; readonly details?: unknown }
  return { name, message, code, details, stack, cause }
}
