import type { RunningAnswer } from '../state/types.ts'
import { useSession } from '../state/use-session.ts'
import { Avatar } from './Avatar.tsx'

/** Answers that are being written, below the messages: the same words on every screen, until they are saved or taken back. */
export function RunningAnswers({
  conversationId,
  answers,
}: {
  readonly conversationId: string
  readonly answers: readonly RunningAnswer[]
}) {
  return (
    <ol className="answers" aria-label="Answers being written">
      {answers.map((answer) => (
        <AnswerRow key={answer.runId} conversationId={conversationId} answer={answer} />
      ))}
    </ol>
  )
}

function AnswerRow({
  conversationId,
  answer,
}: {
  readonly conversationId: string
  readonly answer: RunningAnswer
}) {
  const session = useSession()
  const { runId, text, isStopping } = answer
  return (
    <li className="message answer" data-state="writing" data-run={runId}>
      <Avatar name="assistant" />
      <div className="message-content">
        <p className="message-author">assistant</p>
        {text !== '' && <p className="bubble">{text}</p>}
        <div className="message-meta">
          <span className="sending">
            <span className="sending-ring" />
            {stateOf(answer)}
          </span>
          <button
            className="button button-small"
            disabled={isStopping}
            onClick={() => void session.stopAnswer(conversationId, runId)}
          >
            Stop
          </button>
        </div>
      </div>
    </li>
  )
}

function stateOf({ phase, text, isStopping }: RunningAnswer): string {
  if (isStopping) return 'Stopping'
  if (phase === 'queued') return 'Waiting for a node'
  return text === '' ? 'Thinking' : 'Writing, not saved yet'
}
