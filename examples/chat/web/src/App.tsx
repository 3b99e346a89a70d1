import { useState } from 'react'
import { Shell } from './components/Shell.tsx'
import { SignIn } from './components/SignIn.tsx'
import { connectBackend } from './state/backend.ts'
import { ChatSession } from './state/chat-session.ts'
import { forgetUser, rememberUser } from './state/identity.ts'
import { SessionContext } from './state/use-session.ts'

interface AppProps {
  /** The session of the user whom the page already knows. */
  readonly initial: ChatSession | undefined
  /** The address says who the user is, so there is no signing out. */
  readonly fixed: boolean
}

export function App({ initial, fixed }: AppProps) {
  const [session, setSession] = useState(initial)

  if (session === undefined) {
    return (
      <SignIn
        onSignedIn={(user) => {
          rememberUser(user)
          setSession(openSession(user))
        }}
      />
    )
  }
  const signOut = (): void => {
    session.close()
    forgetUser(session.user)
    setSession(undefined)
  }
  return (
    <SessionContext value={session}>
      <Shell key={session.user} {...(fixed ? {} : { onSignOut: signOut })} />
    </SessionContext>
  )
}

export function openSession(user: string): ChatSession {
  const session = new ChatSession(user, connectBackend(user), localStorage, sessionStorage)
  session.start()
  return session
}
