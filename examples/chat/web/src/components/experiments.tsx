import { useEffect, useState, type ComponentType } from 'react'
import type { ChatSession } from '../state/chat-session.ts'
import { AlertIcon, EarlyIcon, GhostIcon, HoldIcon, PlugIcon, RetryIcon } from './icons.tsx'

/** A button of the panel. */
export interface Experiment {
  readonly id: string
  readonly title: string
  readonly hint: string
  readonly Icon: ComponentType
  readonly run: (session: ChatSession, conversationId: string) => void
}

const always: readonly Experiment[] = [
  {
    id: 'fail',
    title: 'Fail after the insert',
    hint: 'The row is written, then the transaction throws. Nobody else sees it; you are notified.',
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
    id: 'early',
    title: 'Send before the commit',
    hint: 'Emits, then works for 500 ms, then commits. It shows up early only where Lockstep does not enforce.',
    Icon: EarlyIcon,
    run: (session, conversationId) => session.sending.send(conversationId, '/early This one is in a hurry'),
  },
  {
    id: 'ghost',
    title: 'Send before the commit, then fail',
    hint: 'Enforce: nobody sees it. Observe and Off: everybody sees a message that was never saved. Reload, and it is gone.',
    Icon: GhostIcon,
    run: (session, conversationId) => session.sending.send(conversationId, '/ghost This one was never saved'),
  },
  {
    id: 'drop',
    title: 'Drop my socket',
    hint: 'The page goes away for a moment, comes back and reads exactly what it missed.',
    Icon: PlugIcon,
    run: (session) => session.dropSocket(),
  },
]

const killNode: Experiment = {
  id: 'kill-node',
  title: 'Kill a server',
  hint: 'kill -9 for the busiest of three nodes. Its pages go on at another one; nothing is lost or shown twice.',
  Icon: RetryIcon,
  run: () => {
    const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
    // The node that answers may be the one that dies.
    fetch('/demo/kill-node', request).catch(() => {})
  },
}

/** The buttons of the panel: one more where the demo runs as several processes. */
export function useExperiments(): readonly Experiment[] {
  const [isCluster, setIsCluster] = useState(false)
  useEffect(() => {
    const abort = new AbortController()
    fetch('/demo/cluster', { signal: abort.signal })
      .then((response) => response.json() as Promise<{ readonly cluster: boolean }>)
      .then(({ cluster }) => setIsCluster(cluster))
      .catch(() => {})
    return () => abort.abort()
  }, [])
  return isCluster ? [...always, killNode] : always
}
