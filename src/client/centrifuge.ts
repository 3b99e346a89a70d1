/**
 * The client's way to the package `centrifuge`. A build puts in place of this file what the client needs of the package,
 * so that an application neither installs the rest nor sends it to browsers: `scripts/trim-centrifuge.mjs`.
 */
export { Centrifuge, State, UnauthorizedError } from 'centrifuge'
export type { PublicationContext, SubscribedContext, Subscription } from 'centrifuge'
