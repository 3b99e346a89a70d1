import { isName } from '../state/identity.ts'
import { Avatar } from './Avatar.tsx'
import { Mark } from './Mark.tsx'

const people = ['ada', 'grace'] as const

/** Two users in two frames: the same thing seen twice. `?split=ada,grace` chooses who. */
export function SplitView() {
  const asked = new URLSearchParams(location.search).get('split') ?? ''
  const names = asked.split(',').filter(isName)
  const [first = people[0], second = people[1]] = names
  return (
    <div className="split">
      <header className="split-head">
        <Mark />
        <h1>Side by side</h1>
        <p>Two people, two connections. What one commits, the other sees, in the same order.</p>
        <a className="button button-small" href="/">
          Back to one
        </a>
      </header>
      <div className="split-panes">
        {(
          [
            ['left', first],
            ['right', second],
          ] as const
        ).map(([side, name]) => (
          <section key={side} className="split-pane" aria-label={`As ${name}`}>
            <p className="split-name">
              <Avatar name={name} size="small" /> {name}
            </p>
            <iframe title={`Chat as ${name}`} src={`/?as=${encodeURIComponent(name)}`} />
          </section>
        ))}
      </div>
    </div>
  )
}
