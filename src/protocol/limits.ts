import * as clientLimits from './client-limits.ts'

/** Bounds of the wire. Sizes are bytes of UTF-8 unless a name says otherwise. */
export const limits = {
  ...clientLimits,
  /** Largest `connect` command; what comes along in the same message is not read before it has succeeded. */
  maxConnectBytes: 4 * 1024,
  /** Commands in one message. More than channels: an SDK joins all of a page's in one, and is told which are too many. */
  maxCommandsPerMessage: 1024,
  /** Nesting of a JSON message; deeper input breaks recursive walks. */
  maxJsonDepth: 64,
  /** Keys of all objects of a JSON message together. */
  maxJsonKeys: 4096,
  /** Length of a channel name. */
  maxChannelBytes: 255,
  /** Length of a user id. */
  maxUserIdBytes: 250,
  /** Subscriptions of one connection, server-side ones included. */
  maxChannelsPerConnection: 128,
  /** Events that one recovery returns; a client further behind is asked to reload. */
  recoveryPage: 300,
  /** Unheard ids that one user may have closed at once, by questions for outcomes. */
  maxClosedIds: 1_000,
  /** Unheard ids a second that one user may have closed in the long run. */
  closedIdsPerSecond: 20,
  /** Entries of one message that acknowledges events. */
  maxAcknowledgements: 50,
  /** Serialized `data` of one event. */
  maxEventBytes: 256 * 1024,
  /** Events of one operation. */
  maxOperationEvents: 10_000,
  /** Serialized `data` of all events of one operation. */
  maxOperationBytes: 16 * 1024 * 1024,
  /** Serialized chunks of one draft. */
  maxDraftBytes: 256 * 1024,
  /** Operations that show drafts on one channel at once. */
  maxDraftsPerChannel: 32,
  /** Serialized `result` of one operation. */
  maxResultBytes: 256 * 1024,
  /** Serialized data of one refusal. */
  maxRefusalBytes: 16 * 1024,
  /** Steps that the report of a run names: the newest. */
  maxReportedSteps: 500,
  /** Runs that the list of a channel's open runs names: the newest. */
  maxListedRuns: 500,
  /** Reason text of a WebSocket close (RFC 6455, section 5.5: control frames carry at most 125 bytes). */
  maxCloseReasonBytes: 123,
} as const
