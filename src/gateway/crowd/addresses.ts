import { isIPv6 } from 'node:net'
import type { IncomingMessage } from 'node:http'
import { TokenBucket } from './token-bucket.ts'
import type { GatewayLimits } from '../contract/gateway-options.ts'

/** Reason why an upgrade is refused: the limit of one address, or the limit of all together. */
export type AddressRefusal = 'address' | 'all'

/**
 * Counts open connections and new ones by address. A limit of one address that is not below the limit of all costs
 * nothing: no address is remembered then.
 */
export class Addresses {
  readonly #limits: GatewayLimits
  readonly #all: TokenBucket
  readonly #open = new Map<string, number>()
  /** New connections of the current second. No longer than what all may make in it. */
  readonly #recent = new Map<string, number>()
  #second = 0

  constructor(limits: GatewayLimits, monotonicMs: number) {
    this.#limits = limits
    this.#all = new TokenBucket(limits.maxConnectsPerSecond, monotonicMs)
  }

  /** Whether open connections have to be released. */
  get countsOpen(): boolean {
    return this.#limits.maxConnectionsPerAddress < this.#limits.maxConnections
  }

  /** Whether any limit tells addresses apart. */
  get matter(): boolean {
    return this.countsOpen || this.#countsRecent
  }

  /** Counts one connection, unless it is refused. With `countsOpen` every one that was counted is released, once. */
  admit(address: string, monotonicMs: number): AddressRefusal | undefined {
    const { maxConnectionsPerAddress, maxConnectsPerAddressPerSecond } = this.#limits
    this.#turn(monotonicMs)
    const open = this.#open.get(address) ?? 0
    const recent = this.#recent.get(address) ?? 0
    if (open >= maxConnectionsPerAddress || recent >= maxConnectsPerAddressPerSecond) return 'address'
    if (!this.#all.take(monotonicMs)) return 'all'
    if (this.countsOpen) this.#open.set(address, open + 1)
    if (this.#countsRecent) this.#recent.set(address, recent + 1)
    return undefined
  }

  release(address: string): void {
    const open = this.#open.get(address) ?? 0
    if (open > 1) this.#open.set(address, open - 1)
    else this.#open.delete(address)
  }

  #turn(monotonicMs: number): void {
    const second = Math.floor(monotonicMs / 1_000)
    if (second === this.#second) return
    this.#second = second
    this.#recent.clear()
  }

  get #countsRecent(): boolean {
    return this.#limits.maxConnectsPerAddressPerSecond < this.#limits.maxConnectsPerSecond
  }
}

/**
 * Client address that a connection is counted for. Each of `hops` proxies before the node adds its caller's address to
 * `X-Forwarded-For`, so the client is the entry that the outermost proxy added: entries left of it are hearsay.
 */
export function addressOf(request: IncomingMessage, hops: number): string {
  const socket = request.socket.remoteAddress ?? ''
  if (hops === 0) return networkOf(socket)
  const header = request.headers['x-forwarded-for']
  const entries = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',')
  const entry = entries.map((one) => one.trim()).at(-hops)
  return networkOf(entry === undefined || entry === '' ? socket : withoutPort(entry))
}

/** Removes the port, which proxies such as Azure's write too: each connection would count as an address of its own. */
function withoutPort(entry: string): string {
  const match = /^(?:\[([^\]]+)\]|([\d.]+))(?::\d+)?$/.exec(entry)
  return match?.[1] ?? match?.[2] ?? entry
}

/** An IPv4 address, or the first 64 bits of an IPv6 one: that much is given to one household or host. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!isIPv6(address)) return address.slice(0, 64)
  const [left = '', right] = (address.split('%', 1)[0] ?? '').toLowerCase().split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = right === undefined ? 0 : Math.max(0, 8 - head.length - tail.length)
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
