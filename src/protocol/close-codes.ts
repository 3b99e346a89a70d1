/**
 * WebSocket close codes. The client reconnects after 3000 to 3499 and 4000 to 4499, and gives up after 3500 to
 * 3999 and 4500 to 4999. So a code of the latter ranges is for what the same client can only get refused again: no
 * limit that others use up, no time that ran out, and no input of a single command.
 */
export const shutdown = 3001
export const serverError = 3004
export const expired = 3005
export const slow = 3008
export const insufficientState = 3010
export const reconnect = 3011
export const noPong = 3012
export const invalidToken = 3500
export const badRequest = 3501
export const permissionDenied = 3507
export const connectionLimit = 4000
export const connectTimeout = 4001
export const messageTooLarge = 4500
export const originRefused = 4501
