import { useState, type FormEvent } from 'react'
import { signIn } from '../state/identity.ts'
import { Mark } from './Mark.tsx'

const suggestions = ['ada', 'grace', 'linus']

export function SignIn({ onSignedIn }: { onSignedIn: (user: string) => void }) {
  const [name, setName] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string>()

  async function submit(user: string): Promise<void> {
    setBusy(true)
    setError(undefined)
    try {
      await signIn(user)
      onSignedIn(user)
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure))
      setBusy(false)
    }
  }

  const onSubmit = (event: FormEvent): void => {
    event.preventDefault()
    void submit(name.trim())
  }

  return (
    <main className="sign-in">
      <div className="sign-in-card">
        <Mark />
        <h1>A chat that keeps its word</h1>
        <p className="sign-in-lead">
          A message counts once the database has committed it. If it is rolled back, you are notified, and
          nothing you wrote is lost.
        </p>
        <form onSubmit={onSubmit}>
          <label htmlFor="name">Your name</label>
          <div className="sign-in-row">
            <input
              id="name"
              value={name}
              onChange={(event) => setName(event.target.value)}
              placeholder="ada"
              autoComplete="username"
              autoCapitalize="none"
              spellCheck={false}
              maxLength={32}
              autoFocus
              aria-invalid={error !== undefined}
              aria-describedby={error === undefined ? 'name-hint' : 'name-error'}
            />
            <button className="button button-primary" disabled={busy || name.trim() === ''}>
              {busy ? 'Signing in…' : 'Sign in'}
            </button>
          </div>
          {error === undefined ? (
            <p id="name-hint" className="hint">
              Letters, digits, dot, dash or underscore. No password in this demo.
            </p>
          ) : (
            <p id="name-error" className="hint hint-bad" role="alert">
              {error}
            </p>
          )}
        </form>
        <div className="sign-in-more">
          <span className="hint">Or be</span>
          {suggestions.map((user) => (
            <button key={user} className="chip" disabled={busy} onClick={() => void submit(user)}>
              {user}
            </button>
          ))}
        </div>
        <a className="sign-in-split" href="/?split">
          Open two people side by side
        </a>
      </div>
    </main>
  )
}
