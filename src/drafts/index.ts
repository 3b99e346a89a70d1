/**
 * Room `drafts`: what is shown before its operation commits. It knows chunks, the rows that have to stand before they
 * are shown, and how a draft ends; it refuses to know who listens, and SQL of its own.
 */
export { DraftWriter, type ChunkPush, type DraftWriterOptions } from './draft-writer.ts'
export { DraftsPart, type DraftsOfOperation, type DraftStep } from './drafts-part.ts'
export { StepDrafts, type StepDraftsOptions } from './step-drafts.ts'
export { previousDrafts, type PreviousDrafts } from './previous-drafts.ts'
