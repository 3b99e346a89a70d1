/** Ends this process once its parent has gone, however that ended. */
export function endWithParent(): void {
  process.once('disconnect', () => process.exit())
  // The parent may have gone before this process came so far.
  if (!process.connected) process.exit()
}
