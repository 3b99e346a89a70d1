/**
 * The rooms of src/, from the bottom up. A room may import the rooms above it in this list, and nothing else of
 * Lockstep; it imports them through their door, which is their `index.ts`. A room may have wings, which are its folders:
 * a wing may import the wings above it in the room's list, and nothing of the room that stands beside its wings.
 * The table stands here alone: dependency-cruiser enforces it, docs/architecture.md prints it, and a test keeps the two
 * equal.
 *
 * @typedef {object} Wing
 * @property {string} name folder below the room
 * @property {string} knows
 *
 * @typedef {object} Room
 * @property {string} name folder below src/
 * @property {string} knows
 * @property {string} refuses knowledge that the room must not have, so that readers need not look for it there
 * @property {readonly string[]} [only] the rooms it may import, where that is less than all above it
 * @property {readonly Wing[]} [wings]
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
    wings: [{ name: 'queries', knows: "the text of Lockstep's statements, by table" }],
  },
  {
    name: 'log',
    knows:
      "the durable log: append, where a commit's events stand, pages, heads, its history, how long it is kept",
    refuses: 'who listens',
  },
  {
    name: 'feeds',
    knows: "a channel's subscribers in the order of the log: gaps, recent events, resets",
    refuses: 'who subscribes, and over what',
  },
  {
    name: 'bus',
    knows: 'how fresh events travel between nodes: memory, Postgres, Redis, NATS',
    refuses: 'to be relied on: what it loses is put right from the log',
  },
  {
    name: 'cluster',
    knows: 'that a node is alive, and which history of the database it serves: lease, epoch',
    refuses: 'what runs on a node',
    only: ['core', 'postgres'],
  },
  {
    name: 'rollout',
    knows: 'in which mode an operation runs: settings, their storage, a provider of flags',
    refuses: 'what a mode does',
    only: ['core', 'postgres'],
  },
  {
    name: 'transaction',
    knows: 'one operation: intent, work, flush, outcome, notice, settlement',
    refuses: 'sockets, and SQL of its own',
    wings: [
      { name: 'parts', knows: 'what stands or falls with an operation: the contract of its parts' },
      { name: 'intents', knows: 'the durable note that an operation has started' },
      { name: 'settle', knows: 'how an operation without an outcome gets one: notice, settlement, orphans' },
      { name: 'operation', knows: 'one run of the work: transaction, savepoints, flush, hooks, reply' },
    ],
  },
  {
    name: 'drafts',
    knows: 'what is shown before its operation commits: chunks, their rows, pushes and ends',
    refuses: 'who listens, and SQL of its own',
    only: ['protocol', 'core', 'postgres', 'transaction'],
  },
  {
    name: 'operations',
    knows: 'what an application declares: operations, queries, their inputs and who may call them',
    refuses: 'how an operation is carried out',
    only: ['protocol', 'core', 'postgres', 'transaction'],
  },
  {
    name: 'runs',
    knows: 'long work that outlives its process: tasks, runs, steps, and which node has a run',
    refuses: 'sockets, and SQL of its own',
    only: ['protocol', 'core', 'postgres', 'log', 'cluster', 'transaction', 'drafts', 'operations'],
    wings: [
      { name: 'model', knows: 'what becomes of a run, decided without I/O: states, retries, deaths' },
      { name: 'store', knows: 'runs in the database: the part of an operation, changes, events, notices' },
      { name: 'execution', knows: 'the runs of this node: claims, attempts, steps, ends' },
    ],
  },
  {
    name: 'monitor',
    knows:
      'how far the layers drift from the commit: gaps, violations, score, alerts, roll-ups, their exports',
    refuses: 'the insides of the rooms that report to it',
    only: ['protocol', 'core', 'postgres'],
    wings: [
      { name: 'model', knows: 'what is measured, as data' },
      { name: 'measure', knows: 'reports beside the log: gaps, violations, tallies, score' },
      { name: 'store', knows: 'roll-ups and violations in the database' },
      { name: 'alert', knows: 'whom an alert notifies when the score leaves its bounds: callback, webhook' },
      { name: 'export', knows: 'Prometheus and OpenTelemetry' },
    ],
  },
  {
    name: 'auth',
    knows: 'whom a token speaks for, and which rights were taken from a user',
    refuses: 'sockets, and what a user may do',
    only: ['core', 'postgres', 'log', 'feeds'],
  },
  {
    name: 'gateway',
    knows: 'WebSocket sessions and HTTP routes: subscriptions, RPC, limits',
    refuses: 'what an operation does, and how an event is stored',
    only: ['protocol', 'core', 'postgres', 'log', 'feeds', 'auth'],
    wings: [
      { name: 'contract', knows: 'what a gateway is given: options, limits, ports' },
      { name: 'wire', knows: 'the text of frames: commands in, replies and events out' },
      { name: 'crowd', knows: 'all connections together: upgrades, counts, pace, refusals, drain' },
      { name: 'measure', knows: 'when events left the sockets and were acknowledged' },
      { name: 'connection', knows: 'one connection: its session, subscriptions, calls, outbound bytes' },
      { name: 'http', knows: 'the routes: health, metrics, dashboard' },
    ],
  },
  {
    name: 'node',
    knows: 'all rooms of the server: wires, starts and ends the parts of one node',
    refuses: 'rules of its own',
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
