import type { Backend, ConversationChannel } from './backend.ts'
import type { Store } from './store.ts'
import type { ChatState, RunningAnswer } from './types.ts'

/** Commands that the built-in model understands. */
const commands = /^\/(?:slow|failsave|failalways|die)\b/
const mention = /^@assistant\b/i

/** True for a message that the assistant is to answer. */
export function asksAssistant(body: string): boolean {
  return commands.test(body) || mention.test(body)
}

interface AnswersParts {
  readonly store: Store<ChatState>
  readonly backend: Backend
}

/** Follows the answers that the assistant writes in the conversations of this page. */
export class Answers {
  readonly #parts: AnswersParts
  /** Runs that have ended: a list that was read before may still name them. */
  readonly #over = new Set<string>()

  constructor(parts: AnswersParts) {
    this.#parts = parts
  }

  /** Follows the answers of a conversation for as long as its channel is open. */
  follow(id: string, channel: ConversationChannel): void {
    channel.on('run.state', ({ runId, task, phase, startedBy }) => {
      if (task !== 'answer') return
      if (phase !== 'queued' && phase !== 'active') {
        this.#over.add(runId)
        return this.#remove(id, runId)
      }
      this.#change(id, { runId, startedBy, phase })
    })
    channel.onDraft('answer', ({ run, text, state }) => {
      if (run === undefined) return
      // The message comes in the same turn, and takes its place.
      if (state === 'committed') return this.#remove(id, run.id)
      if (this.#over.has(run.id)) return
      this.#change(id, { runId: run.id, text: state === 'open' ? text : '' })
    })
    channel.onChange((state) => {
      if (state === 'subscribed') void this.#look(id)
    })
  }

  /** Stops an answer. @throws errors of the server and of the client */
  async stop(id: string, runId: string): Promise<void> {
    this.#change(id, { runId, isStopping: true })
    const run = this.#parts.backend.run({ id: runId, task: 'answer' })
    try {
      await run.stop()
    } catch (error) {
      this.#change(id, { runId, isStopping: false })
      throw error
    } finally {
      run.close()
    }
  }

  /** Reads which answers are being written: what began, or ended, while this page was away was not heard. */
  async #look(id: string): Promise<void> {
    const open = await this.#parts.backend.runs(`conversation:${id}`).catch(() => undefined)
    if (open === undefined) return
    const ids = new Set(open.map((ref) => ref.id))
    for (const { runId } of this.#parts.store.get().answers[id] ?? [])
      if (!ids.has(runId)) this.#remove(id, runId)
    for (const { id: runId } of open) if (!this.#over.has(runId)) this.#change(id, { runId })
  }

  #change(id: string, change: Partial<RunningAnswer> & Pick<RunningAnswer, 'runId'>): void {
    this.#update(id, (answers) => {
      const known = answers.find(({ runId }) => runId === change.runId)
      if (known === undefined) return [...answers, { ...begun, ...change }]
      return answers.map((answer) => (answer === known ? { ...known, ...change } : answer))
    })
  }

  #remove(id: string, ended: string): void {
    this.#update(id, (answers) => answers.filter(({ runId }) => runId !== ended))
  }

  #update(id: string, change: (answers: readonly RunningAnswer[]) => readonly RunningAnswer[]): void {
    this.#parts.store.update((state) => ({
      ...state,
      answers: { ...state.answers, [id]: change(state.answers[id] ?? []) },
    }))
  }
}

const begun = { startedBy: '', phase: 'queued', text: '', isStopping: false } as const
