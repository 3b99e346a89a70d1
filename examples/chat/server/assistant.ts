import type { Lockstep, SqlClient } from 'lockstep'
import { insertMessage, isMember } from './conversations.ts'
import type { conversationIn } from './channels.ts'
import { answerTo, wordsOf, type Trouble } from './model.ts'
import { AskInput, assistantName } from './shapes.ts'

/** The assistant of each conversation: a question starts a run, which writes its answer for all to see. */
export function defineAssistant(
  lockstep: Lockstep<SqlClient>,
  conversation: ReturnType<typeof conversationIn>,
) {
  /** Number of commits that have failed, by run, for the questions that ask for that. */
  const failures = new Map<string, number>()

  function failOnPurpose(runId: string, trouble: Trouble | undefined): void {
    const before = failures.get(runId) ?? 0
    if (trouble !== 'fail-always' && (trouble !== 'fail-twice' || before === 2)) {
      failures.delete(runId)
      return
    }
    if (trouble === 'fail-twice') failures.set(runId, before + 1)
    throw new Error('this question asked that its answer cannot be saved')
  }

  const answer = lockstep.task('answer', {
    input: AskInput,
    channel: ({ input }) => conversation({ id: input.conversationId }),
    failure: { userMessage: 'The answer was not saved.', recoveryActions: ['ask_again'] },
    async run({ input, runId, step, channel }) {
      const { conversationId, question } = input
      const planned = answerTo(question)
      const messageId = await step.do('answer', {
        async work({ draft, signal, attempt }) {
          const written = draft('answer')
          let count = 0
          for await (const word of wordsOf(planned, signal)) {
            written.append(word)
            count += 1
            if (planned.trouble === 'die' && attempt === 1 && count * 2 >= planned.words.length) {
              process.kill(process.pid, 'SIGKILL')
            }
          }
          return written.text
        },
        async commit(tx, text) {
          failOnPurpose(runId, planned.trouble)
          // Stopped before its first word: nothing is worth a message.
          if (text === '') return null
          const message = await insertMessage(tx.db, {
            id: tx.operationId,
            conversationId,
            author: assistantName,
            body: text,
          })
          tx.emit(channel, 'message.created', { ...message, runId })
          return message.id
        },
      })
      return { messageId }
    },
  })

  const ask = lockstep.operation('ask', {
    input: AskInput,
    authorize: ({ user, input, db }) => isMember(db, user.id, input.conversationId),
    rollback: { userMessage: 'Your question was not saved.', recoveryActions: ['retry'] },
    async run({ input, user, tx }) {
      const { conversationId, question } = input
      const message = await insertMessage(tx.db, {
        id: tx.operationId,
        conversationId,
        author: user.id,
        body: question,
      })
      tx.emit(conversation({ id: conversationId }), 'message.created', message)
      return { messageId: message.id, run: tx.start(answer, input) }
    },
  })

  return { answer, ask }
}
