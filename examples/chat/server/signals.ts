/**
 * Resolves at the first signal to stop. To be called before anything is started: a signal that nobody listens for
 * ends the process without its `exit` handlers, and so leaves an embedded Postgres behind. A second one ends the process
 * at once: whoever sends it does not want to wait.
 */
export async function firstSignal(): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.once(name, () => {
        process.once(name, () => process.exit(1))
        resolve()
      })
    }
  })
}
