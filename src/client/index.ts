/**
 * Room `client`, published as `lockstep/client`: what an application in a browser uses to follow channels, call
 * operations and learn what became of them. It knows the wire contract and the `centrifuge` package; it refuses to
 * know anything of the server's insides, and imports nothing of Node.
 */
export { createClient } from './create-client.ts'
export type { Client, ClientOperations, ClientOptions, StartOptions } from './client.ts'
export { clientErrors, LockstepClientError, type ClientErrorReason } from './errors.ts'
export { RolledBackError } from './call.ts'
export { newOperationId } from './operation-id.ts'
export type { OperationStorage } from './browser.ts'
export type {
  AnyEvent,
  Channel,
  ChannelEvent as ClientEvent,
  ChannelOptions,
  ChannelState,
  CommittedEvent,
  UncommittedEvent,
} from './client-channel.ts'
export type { Connection, ConnectionState, DisconnectReason } from './connection.ts'
export type { Notices } from './notices.ts'
export type {
  Call,
  CallOptions,
  FinalOutcome as Ended,
  OperationState,
  PendingOperation,
} from './pending-operation.ts'
export type { DraftView } from './draft-view.ts'
export type { Run, RunEnd, StartedRun } from './run.ts'
export type { StoredOperation } from './stored-operations.ts'
export type { Off } from './listeners.ts'
export type {
  AppShape,
  Committed,
  NeverReceived,
  Notice,
  NoticedRefusal,
  PlainRefusal,
  Positions,
  RolledBack,
  RunPhase,
  RunProgressData,
  RunRef,
  RunState,
  RunStateData,
  StreamPosition as Position,
} from '../protocol/index.ts'
