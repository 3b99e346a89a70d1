import { fork, type ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AbuserMessage, Deeds, Storm } from './deeds.ts'

/** Abusers, in a process of their own. */
export class AbuserProcess {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  static start(storm: Storm, env: NodeJS.ProcessEnv): AbuserProcess {
    return new AbuserProcess(
      fork(new URL('./abusers.ts', import.meta.url), [], {
        execArgv: ['--import', 'tsx'],
        env: { ...process.env, ...env, FAIRNESS_STORM: storm },
      }),
    )
  }

  /** Waits until all of them are at work and the first rush is over. @returns whether they were, within so many milliseconds */
  async begun(withinMs: number): Promise<boolean> {
    const begun = new Promise<boolean>((resolve, reject) => {
      this.#child.once('exit', (code) => reject(new Error(`the abusers ended with code ${code}`)))
      this.#child.once('message', () => resolve(true))
    })
    const late = new AbortController()
    const inTime = await Promise.race([begun, sleep(withinMs, false, late)])
    if (inTime) late.abort()
    return inTime
  }

  deeds(): Promise<Deeds> {
    return new Promise((resolve) => {
      const hear = (message: AbuserMessage): void => {
        // The news that they have begun may come in between.
        if (!('deeds' in message)) return
        this.#child.off('message', hear)
        resolve(message.deeds)
      }
      this.#child.on('message', hear)
      this.#child.send('deeds')
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}
