import type { SavepointWatch } from '../core/index.ts'

/** Sends a statement about a savepoint, and says how it went to whoever watches savepoints. @throws what `send` throws */
export async function watched<T>(settle: ReturnType<SavepointWatch>, send: () => Promise<T>): Promise<T> {
  let answer: T
  try {
    answer = await send()
  } catch (error) {
    settle(false)
    throw error
  }
  settle(true)
  return answer
}
