import { vi } from 'vitest'

/** Resolves once the check passes. Ten seconds by default, since Vitest's own one second is over early on a busy machine. */
export function eventually<Result>(
  check: () => Result | Promise<Result>,
  options: number | { readonly timeout?: number; readonly interval?: number } = {},
): Promise<Result> {
  return vi.waitFor(check, {
    timeout: 10_000,
    interval: 20,
    ...(typeof options === 'number' ? { timeout: options } : options),
  })
}
