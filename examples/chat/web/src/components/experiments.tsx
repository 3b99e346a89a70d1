import type { ComponentType } from 'react'
import type { ChatSession } from '../state/chat-session.ts'
import { AlertIcon, HoldIcon, PlugIcon } from './icons.tsx'

/** One button of the panel. */
export interface Experiment {
  readonly id: string
  readonly title: string
  readonly hint: string
  readonly Icon: ComponentType
  readonly run: (session: ChatSession, conversationId: string) => void
}

export const experiments: readonly Experiment[] = [
  {
    id: 'fail',
    title: 'Fail after the insert',
    hint: 'The row is written, then the transaction throws. Nobody else sees it; you are told.',
    Icon: AlertIcon,
    run: (session, conversationId) => session.sending.send(conversationId, '/fail This one will not make it'),
  },
  {
    id: 'hold',
    title: 'Hold the transaction for 3 s',
    hint: 'Other messages pass it by. Yours shows up for everybody when it commits.',
    Icon: HoldIcon,
    run: (session, conversationId) =>
      session.sending.send(conversationId, '/hold 3000 This one takes its time'),
  },
  {
    id: 'drop',
    title: 'Drop my socket',
    hint: 'The page goes away for a moment, comes back and reads exactly what it missed.',
    Icon: PlugIcon,
    run: (session) => session.dropSocket(),
  },
]
