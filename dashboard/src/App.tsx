import { useEffect, useState, useSyncExternalStore } from 'react'
import { Announcer } from './components/Announcer.tsx'
import { Dashboard } from './components/Dashboard.tsx'
import { FailureScreen } from './components/FailureScreen.tsx'
import { Freshness } from './components/Freshness.tsx'
import { Header } from './components/Header.tsx'
import { Skeleton } from './components/Skeleton.tsx'
import { Poller } from './state/poller.ts'
import { readWindow, writeWindow } from './state/window.ts'

export function App() {
  const [minutes, setMinutes] = useState(readWindow)
  const [poller] = useState(() => new Poller(minutes))
  const state = useSyncExternalStore(poller.subscribe, poller.get)
  useEffect(() => poller.start(), [poller])

  const choose = (chosen: number): void => {
    setMinutes(chosen)
    writeWindow(chosen)
    poller.choose(chosen)
  }

  return (
    <>
      <a className="skip" href="#main">
        Skip to the figures
      </a>
      <Header
        state={state}
        minutes={minutes}
        onChoose={choose}
        onPause={(isPaused) => poller.pause(isPaused)}
      />
      <main id="main" className="main" tabIndex={-1} aria-busy={state.isChanging}>
        <Announcer state={state} />
        {state.data !== undefined && (
          <Freshness state={state} data={state.data} minutes={minutes} onRetry={poller.askNow} />
        )}
        {state.data !== undefined && <Dashboard data={state.data} />}
        {state.data === undefined && state.failure !== undefined && (
          <FailureScreen failure={state.failure} state={state} onRetry={poller.askNow} />
        )}
        {state.data === undefined && state.failure === undefined && <Skeleton />}
      </main>
    </>
  )
}
