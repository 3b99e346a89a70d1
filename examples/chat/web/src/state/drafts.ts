/** Text that a person is writing in one conversation. */
export interface Draft {
  readonly text: string
  /** The message that is being edited. It stays in the outbox until the new text is sent. */
  readonly editing?: { readonly id: string; readonly kept: string }
}

export const emptyDraft: Draft = { text: '' }

/** Methods of a browser's storage that are used here. */
export interface TextStorage {
  getItem(key: string): string | null
  setItem(key: string, text: string): void
  removeItem(key: string): void
}

/** Keeps what is written and not sent, over a reload, a change of the conversation and the end of the browser. */
export interface DraftStorage {
  load(conversationId: string): Draft
  put(conversationId: string, draft: Draft): void
}

/** `tab` comes first: two pages of one user each keep their own. A page that is new begins with what was written last. */
export function createDraftStorage(tab: TextStorage, shared: TextStorage, user: string): DraftStorage {
  const keyOf = (conversationId: string): string => `lockstep-chat:draft:${user}:${conversationId}`
  return {
    load(conversationId) {
      const key = keyOf(conversationId)
      return parse(tab.getItem(key)) ?? parse(shared.getItem(key)) ?? emptyDraft
    },
    put(conversationId, draft) {
      const key = keyOf(conversationId)
      const isEmpty = draft.text === '' && draft.editing === undefined
      try {
        // Keep a draft that another page of this user wrote meanwhile: only that page may remove it.
        if (!isEmpty) shared.setItem(key, JSON.stringify(draft))
        else if (shared.getItem(key) === tab.getItem(key)) shared.removeItem(key)
        // Store an empty draft too: this page, loaded again, must not begin with the draft of another one.
        tab.setItem(key, JSON.stringify(draft))
      } catch {
        // Storage may be full or forbidden; the draft then lives as long as the page.
      }
    },
  }
}

function parse(text: string | null): Draft | undefined {
  try {
    const draft = JSON.parse(text ?? '') as Draft
    return typeof draft.text === 'string' ? draft : undefined
  } catch {
    return undefined
  }
}
