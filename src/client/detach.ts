/** Ignores the failure of a promise that does not matter, or is heard elsewhere; the caller says which. */
export function disregard(work: Promise<unknown>): void {
  work.catch(() => {})
}

/** Lets work run on by itself, and reports its failure: in Node, a rejection that nobody hears ends the process. */
export function detach(work: Promise<unknown>, onError: (error: unknown) => void): void {
  work.catch(onError)
}

/** Calls a function of the application. What it throws, or rejects with, goes to `onError`. */
export function callSafely<Args extends readonly unknown[]>(
  call: (...args: Args) => unknown,
  args: Args,
  onError: (error: unknown) => void,
): void {
  try {
    const answer = call(...args)
    // Covers `async` listeners, which the types of listeners let pass.
    if (answer instanceof Promise) detach(answer, onError)
  } catch (error) {
    onError(error)
  }
}
