/**
 * Room `core`: pure rules. It knows ids, channels, errors, the database contract and the machines that decide;
 * it refuses to do I/O: time, sockets and the database reach it through ports.
 */
export * from './admission.ts'
export * from './channel.ts'
export * from './clock.ts'
export * from './clock-alignment.ts'
export * from './database.ts'
export * from './database-clock.ts'
export * from './deadline.ts'
export * from './error-catalogue.ts'
export * from './errors.ts'
export * from './ids.ts'
export * from './logger.ts'
export * from './probe.ts'
export * from './ring.ts'
export * from './rollout.ts'
export * from './schema.ts'
export * from './offset-sequencer.ts'
export * from './time-limit.ts'
export * from './tracing.ts'
export * from './whole-numbers.ts'
