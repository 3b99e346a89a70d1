/**
 * Room `cluster`: that a node is alive, and which history of the database it serves. It refuses to know what runs on a
 * node.
 */
export type { LeaseState } from './lease-term.ts'
export { NodeLease, type Renewal } from './node-lease.ts'
export { EpochWatch, type HistoryChange } from './epoch-watch.ts'
