/** Codes of an unsubscribe push. From 2500 on the client resubscribes with recovery, below it does not. */
export const server = 2000
export const insufficientState = 2500
