/** Prints each check of the lane on a line of its own, and counts them. */
export class Checks {
  passed = 0
  failed = 0

  check(name: string, holds: boolean, shown: string): void {
    if (holds) this.passed += 1
    else this.failed += 1
    console.log(`  ${holds ? 'ok    ' : 'FAILED'}  ${name}: ${shown}`)
  }

  /** A figure that nothing is asked of. */
  say(text: string): void {
    console.log(`  ${text}`)
  }
}
