/**
 * The rooms of src/, from the bottom up. A room may import the rooms above it in this list, and nothing else of
 * Lockstep. This table is the only one: dependency-cruiser enforces it, docs/architecture.md prints it, and a
 * test keeps the two equal.
 *
 * @typedef {object} Room
 * @property {string} name folder below src/
 * @property {string} knows
 * @property {string} refuses what it must not know, and so where not to look for it
 * @property {readonly string[]} [only] the rooms it may import, where that is less than all above it
 */

/** @type {readonly Room[]} */
export const rooms = [
  {
    name: 'protocol',
    knows: 'the wire contract: envelopes, notices, outcomes, codes, limits',
    refuses: 'who sends it, over what, or why',
  },
  {
    name: 'core',
    knows: 'pure rules: ids, channels, errors, offsets and gaps, the database contract',
    refuses: 'I/O: time, sockets and the database reach it through ports',
  },
  {
    name: 'postgres',
    knows: "Lockstep's SQL: tables, migrations, the drivers for pg and PGlite, SQLSTATE",
    refuses: 'why a statement is sent',
  },
  {
    name: 'events',
    knows: "the log's readers: a channel's subscribers in offset order, gaps, retention",
    refuses: 'who subscribes, and over what',
  },
  {
    name: 'bus',
    knows: 'how fresh events travel between nodes: memory, Postgres, Redis, NATS',
    refuses: 'to be relied on: what it loses is put right from the log',
  },
  {
    name: 'transaction',
    knows: 'one operation: intent, work, flush, outcome, notice, settlement, the lease of a node',
    refuses: 'sockets, and SQL of its own',
  },
  {
    name: 'health',
    knows:
      'how far the layers drift from the commit: gaps, violations, score, alerts, roll-ups, their exports',
    refuses: 'the insides of the rooms that report to it',
    only: ['protocol', 'core', 'postgres'],
  },
  {
    name: 'gateway',
    knows: 'WebSocket sessions and HTTP routes: authentication, subscriptions, RPC, limits',
    refuses: 'what an operation does, and how an event is stored',
  },
  {
    name: 'client',
    knows: 'the browser side: connection, channels, calls, and the memory of calls without an outcome',
    refuses: 'the server, except for its wire contract',
    only: ['protocol'],
  },
  {
    name: 'cli',
    knows: 'the command lockstep: arguments, what an operator reads, exit codes',
    refuses: 'nodes, sockets and operations',
    only: ['core', 'postgres'],
  },
]

/** Rooms that the given one may import. @param {Room} room @returns {readonly string[]} */
export function importsOf(room) {
  return room.only ?? rooms.slice(0, rooms.indexOf(room)).map(({ name }) => name)
}
