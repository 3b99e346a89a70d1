import type { IncomingHttpHeaders } from 'node:http'
import { LockstepError } from '../../core/index.ts'

/**
 * Whether a page may open a socket. Browsers send one canonical origin, so everything is compared exactly:
 * `null`, other ports or schemes, upper case and look-alike suffixes are refused. Without a list, the page must
 * come from the host it connects to; the scheme is left open then, since a proxy may have ended TLS before us.
 */
export function isOriginAllowed(
  headers: IncomingHttpHeaders,
  allowed: ReadonlySet<string> | undefined,
): boolean {
  // Version 8 of the handshake, which ws still takes, names the header differently.
  const legacy = headers['sec-websocket-origin']
  if (legacy !== undefined && (typeof legacy !== 'string' || !matches(legacy, headers.host, allowed)))
    return false
  return headers.origin === undefined || matches(headers.origin, headers.host, allowed)
}

/** @throws LS_CONFIG_INVALID for anything but an origin as browsers write it */
export function parseOrigins(origins: readonly string[]): ReadonlySet<string> {
  for (const origin of origins) {
    if (hostOf(origin) === undefined) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `"${origin}" is not an origin. Write it as browsers do: https://app.example, without a path.`,
      })
    }
  }
  return new Set(origins)
}

function matches(
  origin: string,
  host: string | undefined,
  allowed: ReadonlySet<string> | undefined,
): boolean {
  if (allowed !== undefined) return allowed.has(origin)
  const originHost = hostOf(origin)
  return originHost !== undefined && originHost === host?.toLowerCase()
}

/** Host and port of a canonical http(s) origin, else undefined. */
function hostOf(origin: string): string | undefined {
  if (!URL.canParse(origin)) return undefined
  const url = new URL(origin)
  const web = url.protocol === 'http:' || url.protocol === 'https:'
  return web && url.origin === origin ? url.host : undefined
}
