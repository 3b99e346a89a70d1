import { useEffect, useState } from 'react'
import { Shell } from './components/Shell.tsx'
import { SignIn } from './components/SignIn.tsx'
import { connectBackend } from './state/backend.ts'
import { ChatSession } from './state/chat-session.ts'
import { forgetUser, pageUser, rememberUser } from './state/identity.ts'
import { SessionContext } from './state/use-session.ts'

export function App() {
  const [{ user, fixed }, setIdentity] = useState(pageUser)
  const session = useChatSession(user)

  if (user === undefined) {
    return (
      <SignIn
        onSignedIn={(name) => {
          rememberUser(name)
          setIdentity({ user: name, fixed: false })
        }}
      />
    )
  }
  if (session === undefined) return null
  return (
    <SessionContext value={session}>
      <Shell
        {...(fixed
          ? {}
          : {
              onSignOut: () => {
                forgetUser(user)
                setIdentity({ user: undefined, fixed: false })
              },
            })}
      />
    </SessionContext>
  )
}

function useChatSession(user: string | undefined): ChatSession | undefined {
  const [session, setSession] = useState<ChatSession>()
  useEffect(() => {
    if (user === undefined) return
    const opened = new ChatSession(user, connectBackend(user), localStorage)
    opened.start()
    setSession(opened)
    return () => {
      opened.close()
      setSession(undefined)
    }
  }, [user])
  return session
}
