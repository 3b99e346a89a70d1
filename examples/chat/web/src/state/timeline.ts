import type { TimelineEntry, TimelineOperation, TimelineRemark } from './types.ts'

const kept = 60

export function addEntry(timeline: readonly TimelineEntry[], entry: TimelineEntry): readonly TimelineEntry[] {
  return [entry, ...timeline].slice(0, kept)
}

export function changeOperation(
  timeline: readonly TimelineEntry[],
  id: string,
  change: (entry: TimelineOperation) => Partial<TimelineOperation>,
): readonly TimelineEntry[] {
  return timeline.map((entry) =>
    entry.kind === 'operation' && entry.id === id ? { ...entry, ...change(entry) } : entry,
  )
}

export function remark(tone: TimelineRemark['tone'], text: string): TimelineRemark {
  return { kind: 'remark', id: crypto.randomUUID(), at: Date.now(), tone, text }
}
