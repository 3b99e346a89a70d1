import type { MonitorLevel } from '../../../src/monitor/model/dashboard-data.ts'
import type { PollState } from '../state/poller.ts'
import { windows } from '../state/window.ts'
import { Mark, PauseIcon, PlayIcon } from './icons.tsx'
import { Clip } from './text.tsx'

const levelHints: Readonly<Record<MonitorLevel, string>> = {
  off: 'nothing is measured',
  counters: 'counts only',
  sampled: 'a sample is measured',
  full: 'every operation is measured',
}

interface HeaderProps {
  readonly state: PollState
  readonly minutes: number
  readonly onChoose: (minutes: number) => void
  readonly onPause: (isPaused: boolean) => void
}

export function Header({ state, minutes, onChoose, onPause }: HeaderProps) {
  const { data, isPaused } = state
  return (
    <header className="header">
      <div className="header-name">
        <Mark />
        <div>
          <h1>Health</h1>
          <p className="hint">
            {data === undefined ? (
              'Lockstep'
            ) : (
              <>
                node <Clip text={data.node} mono />
                <span className="header-level">, {levelHints[data.level] ?? data.level}</span>
              </>
            )}
          </p>
        </div>
      </div>
      <div className="header-controls">
        <Pulse state={state} />
        <button
          type="button"
          className="button button-icon"
          aria-label={isPaused ? 'Resume updates' : 'Pause updates'}
          title={isPaused ? 'Resume updates' : 'Pause updates'}
          onClick={() => onPause(!isPaused)}
        >
          {isPaused ? <PlayIcon /> : <PauseIcon />}
        </button>
        <fieldset className="windows">
          <legend className="visually-hidden">Window</legend>
          {windows.map((choice) => (
            <label key={choice.minutes} className="window">
              <input
                type="radio"
                name="window"
                checked={choice.minutes === minutes}
                onChange={() => onChoose(choice.minutes)}
              />
              <span>{choice.short}</span>
            </label>
          ))}
        </fieldset>
      </div>
    </header>
  )
}

function Pulse({ state }: { readonly state: PollState }) {
  const [tone, words] = pulse(state)
  return (
    <span className="pulse" data-tone={tone}>
      <span className="pulse-dot" />
      {words}
    </span>
  )
}

function pulse({ data, failure, isPaused }: PollState): readonly ['good' | 'wait' | 'bad', string] {
  if (isPaused) return ['wait', 'Paused']
  if (failure !== undefined) return ['bad', data === undefined ? 'No data' : 'Stale']
  return data === undefined ? ['wait', 'Loading'] : ['good', 'Live']
}
