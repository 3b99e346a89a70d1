// Messages between the lane and its abusers.

/** Calls of one kind, by their answers. */
export interface Answers {
  /** Calls answered with an outcome, a result, or a subscription. */
  served: number
  /** Calls refused by error 111: beyond a limit. */
  refused: number
}

export const kinds = ['calls', 'slow', 'failures', 'questions', 'subscribes', 'unread'] as const
export type Kind = (typeof kinds)[number]

/** Counts since the abusers began. Of sockets that are not read, `served` are those that the server has cut. */
export type Deeds = Readonly<Record<Kind, Readonly<Answers>>>

/** Message of the abusers: that all of them are at work and every limit is full, or their counts so far. */
export type AbuserMessage = { readonly serving: Deeds } | { readonly deeds: Deeds }

export function noDeeds(): Record<Kind, Answers> {
  return Object.fromEntries(kinds.map((kind) => [kind, { served: 0, refused: 0 }])) as Record<Kind, Answers>
}

export function deedsSince(before: Deeds, after: Deeds): Deeds {
  const since = noDeeds()
  for (const kind of kinds) {
    since[kind].served = after[kind].served - before[kind].served
    since[kind].refused = after[kind].refused - before[kind].refused
  }
  return since
}

export function deedsSum(one: Deeds, other: Deeds): Deeds {
  const sum = noDeeds()
  for (const kind of kinds) {
    sum[kind].served = one[kind].served + other[kind].served
    sum[kind].refused = one[kind].refused + other[kind].refused
  }
  return sum
}

export function shownDeeds(deeds: Deeds): string {
  return kinds.map((kind) => `${kind} ${deeds[kind].served} + ${deeds[kind].refused} refused`).join(', ')
}
