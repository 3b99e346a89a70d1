import { messageOf, type Logger } from '../../core/index.ts'
import type { Authorize } from '../contract/ports.ts'

/** A check that fails lets nobody in, and is logged. Never throws. */
export async function isAdmitted(authorize: Authorize, request: Request, logger: Logger): Promise<boolean> {
  try {
    const answer: unknown = await authorize(request)
    return answer === true
  } catch (error) {
    logger.error({ error }, `authorize failed, so nobody is let in: ${messageOf(error)}`)
    return false
  }
}
