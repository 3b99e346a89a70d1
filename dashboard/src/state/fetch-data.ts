import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import { malformed, refused, unreachable, type Failure } from './failure.ts'

const timeoutMs = 10_000

export type Answer =
  { readonly ok: true; readonly data: DashboardData } | { readonly ok: false; readonly failure: Failure }

export const dataUrl = `${import.meta.env.BASE_URL}data`

/** @returns undefined when `signal` was aborted */
export async function fetchData(minutes: number, signal: AbortSignal): Promise<Answer | undefined> {
  let body: unknown
  try {
    const response = await fetch(`${dataUrl}?minutes=${minutes}`, {
      headers: { Accept: 'application/json' },
      cache: 'no-store',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    })
    if (signal.aborted) return undefined
    if (!response.ok) return { ok: false, failure: refused(response.status, await reasonOf(response)) }
    body = await response.json()
  } catch (error) {
    if (signal.aborted) return undefined
    return { ok: false, failure: error instanceof SyntaxError ? malformed : unreachable(error) }
  }
  if (signal.aborted) return undefined
  return isData(body) ? { ok: true, data: body } : { ok: false, failure: malformed }
}

async function reasonOf(response: Response): Promise<string> {
  try {
    const { message } = (await response.json()) as { readonly message?: unknown }
    return typeof message === 'string' ? message : ''
  } catch {
    // A proxy's own page: the status says enough.
    return ''
  }
}

// Tells this server's data from another program's answer. The page and the server are of one release, so a brief look
// is enough.
function isData(body: unknown): body is DashboardData {
  if (typeof body !== 'object' || body === null) return false
  const parts = body as Record<string, unknown>
  const lists = ['modes', 'history', 'operations', 'nodes', 'channels']
  const groups = ['score', 'gaps', 'thresholds', 'violations', 'rollbacks']
  return (
    typeof parts['at'] === 'string' &&
    lists.every((name) => Array.isArray(parts[name])) &&
    groups.every((name) => typeof parts[name] === 'object' && parts[name] !== null)
  )
}
