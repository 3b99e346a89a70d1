import { messageOf, type Logger } from '../core/index.ts'

/** Decides who may see what is for operators. Anything but `true` is a no. */
export type Authorize = (request: Request) => boolean | Promise<boolean>

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
