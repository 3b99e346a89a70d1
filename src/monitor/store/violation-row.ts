import type { ViolationRow } from '../../postgres/index.ts'
import { limits } from '../../protocol/index.ts'
import type { Violation } from '../model/kinds.ts'

const longest = {
  id: 100,
  user: limits.maxUserIdBytes,
  name: 200,
  detail: 500,
  stack: 4_000,
  layer: 40,
  layers: 16,
}

/** Cuts the texts of a violation, which come from anywhere, and removes what Postgres refuses. */
export function sanitized(violation: Violation, nowMs: number): Violation {
  const { kind, operationId, userId, operation, layers, at, node, gapMs, detail, stack } = violation
  return {
    kind,
    operationId: cut(operationId, longest.id),
    ...(userId === undefined ? {} : { userId: cut(userId, longest.user) }),
    ...(operation === undefined ? {} : { operation: cut(operation, longest.name) }),
    layers: layers.slice(0, longest.layers).map((layer) => cut(layer, longest.layer)),
    at: isPlausible(at, nowMs) ? at : nowMs,
    node: cut(node, longest.id),
    ...(gapMs === undefined || !Number.isFinite(gapMs) ? {} : { gapMs: Math.round(gapMs * 1000) / 1000 }),
    detail: cut(detail, longest.detail),
    ...(stack === undefined ? {} : { stack: cut(stack, longest.stack) }),
  }
}

/** Cuts a text, and removes NUL, which text in Postgres cannot hold, and half surrogate pairs, which JSON cannot. */
export function cut(text: string, length: number): string {
  return Buffer.from(text.slice(0, length).replaceAll('\0', '')).toString()
}

function isPlausible(at: number, nowMs: number): boolean {
  return Number.isFinite(at) && Math.abs(at - nowMs) < 7 * 86_400_000
}

export function toViolationRow(violation: Violation): ViolationRow {
  return {
    operation_id: violation.operationId,
    user_id: violation.userId ?? '',
    kind: violation.kind,
    node: violation.node,
    operation: violation.operation ?? null,
    layers: violation.layers,
    at_ms: violation.at,
    gap_ms: violation.gapMs ?? null,
    detail: violation.detail,
    stack: violation.stack ?? null,
  }
}

export function fromViolationRow(row: ViolationRow): Violation {
  return {
    kind: row.kind as Violation['kind'],
    operationId: row.operation_id,
    ...(row.user_id === '' ? {} : { userId: row.user_id }),
    ...(row.operation === null ? {} : { operation: row.operation }),
    layers: row.layers,
    at: row.at_ms,
    node: row.node,
    ...(row.gap_ms === null ? {} : { gapMs: row.gap_ms }),
    detail: row.detail,
    ...(row.stack === null ? {} : { stack: row.stack }),
  }
}
