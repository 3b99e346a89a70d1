import { useCallback, useEffect, useState } from 'react'

const modes = [
  {
    mode: 'enforce',
    title: 'Enforce',
    hint: 'Events leave after the commit. The sender of what rolled back is notified.',
  },
  {
    mode: 'observe',
    title: 'Observe',
    hint: 'Events leave at once, as without Lockstep. Every violation is counted.',
  },
  {
    mode: 'off',
    title: 'Off',
    hint: 'Events leave at once, as without Lockstep: what is on the screen counts as saved. Nothing is measured.',
  },
] as const

type Mode = (typeof modes)[number]['mode']

interface Health {
  readonly score?: number
  readonly violations?: Readonly<Record<string, number>>
}

const refreshMs = 2_000

const violationNames: Readonly<Record<string, string>> = {
  websocket_before_commit: 'shown before the commit',
  missing_rollback_notification: 'rolled back, not notified',
  transaction_boundary_violation: 'shown without a commit',
  isolation: 'shown to the wrong user',
}

/** How messages are sent, for everybody who uses this demo, and what the health monitor says of it. */
export function ModeSwitch() {
  const { mode, choose, problem } = useMode()
  const health = useHealth()
  const chosen = modes.find((known) => known.mode === mode)
  return (
    <section className="modes" aria-labelledby="modes-title">
      <h3 id="modes-title">How messages are sent</h3>
      <div className="mode-buttons" role="radiogroup" aria-labelledby="modes-title">
        {modes.map((known) => (
          <label key={known.mode} className="mode-button">
            <input
              type="radio"
              name="rollout-mode"
              value={known.mode}
              checked={known.mode === mode}
              onChange={() => choose(known.mode)}
            />
            <span>{known.title}</span>
          </label>
        ))}
      </div>
      <p className="modes-hint">{problem ?? chosen?.hint ?? 'Asking the server…'}</p>
      {health?.score !== undefined && (
        <p className="modes-health" data-tone={health.score < 0.8 ? 'bad' : 'good'}>
          <a href="/lockstep/dashboard" target="_blank" rel="noreferrer">
            Score {health.score.toFixed(2)}
          </a>{' '}
          {summaryOf(health.violations ?? {})}
        </p>
      )}
    </section>
  )
}

function summaryOf(violations: Readonly<Record<string, number>>): string {
  const found = Object.entries(violations).filter(([, count]) => count > 0)
  if (found.length === 0) return 'in the last hour, without a violation'
  return found.map(([kind, count]) => `· ${count} ${violationNames[kind] ?? kind}`).join(' ')
}

function useMode() {
  const [mode, setMode] = useState<Mode>()
  const [problem, setProblem] = useState<string>()
  useEffect(() => {
    const abort = new AbortController()
    const ask = (): void => {
      fetch('/demo/mode', { signal: abort.signal })
        .then((response) => response.json() as Promise<{ readonly mode: Mode }>)
        .then((answer) => setMode(answer.mode))
        .catch(() => {})
    }
    ask()
    // Ask again: another user may have changed the mode.
    const timer = setInterval(ask, refreshMs)
    return () => {
      clearInterval(timer)
      abort.abort()
    }
  }, [])
  const choose = useCallback((next: Mode) => {
    setMode(next)
    setProblem(undefined)
    void changeMode(next).then(setProblem)
  }, [])
  return { mode, choose, problem }
}

/** Resolves to what went wrong, in words for the screen. */
async function changeMode(mode: Mode): Promise<string | undefined> {
  const request = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ mode }),
  }
  const taken = await fetch('/demo/mode', request).then(
    (response) => response.ok,
    () => false,
  )
  return taken ? undefined : 'The server did not take the change. Try again.'
}

function useHealth(): Health | undefined {
  const [health, setHealth] = useState<Health>()
  useEffect(() => {
    const abort = new AbortController()
    const ask = (): void => {
      fetch('/demo/health', { signal: abort.signal })
        .then((response) => response.json() as Promise<Health>)
        .then(setHealth)
        .catch(() => {})
    }
    ask()
    const timer = setInterval(ask, refreshMs)
    return () => {
      clearInterval(timer)
      abort.abort()
    }
  }, [])
  return health
}
