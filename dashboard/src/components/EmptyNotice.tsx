import type { MonitorLevel } from '../../../src/monitor/model/dashboard-data.ts'
import { lengthOf } from '../state/window.ts'
import { EmptyIcon } from './icons.tsx'

export function EmptyNotice({ level, minutes }: { readonly level: MonitorLevel; readonly minutes: number }) {
  return (
    <section className="section screen" data-wide="full" aria-labelledby="empty-heading">
      <span className="screen-icon">
        <EmptyIcon />
      </span>
      {level === 'off' ? <NotMeasured /> : <NoOperations minutes={minutes} />}
    </section>
  )
}

function NotMeasured() {
  return (
    <>
      <h2 id="empty-heading">Nothing is measured</h2>
      <p>
        The level of the monitor is <code>off</code>. Measure with the option:
      </p>
      <pre className="code">
        <code>{`createLockstep({ monitor: { level: 'full' } })`}</code>
      </pre>
    </>
  )
}

function NoOperations({ minutes }: { readonly minutes: number }) {
  return (
    <>
      <h2 id="empty-heading">No operations in the last {lengthOf(minutes)}</h2>
      <p>
        The first one shows here within two seconds. Send a message in the demo, or call an operation from a
        client:
      </p>
      <pre className="code">
        <code>{`const client = createClient({ url, getToken })
await client.call('send_message', { body: 'hello' }).outcome`}</code>
      </pre>
      {minutes < 1_440 && <p className="hint">For older ones, choose a longer window above.</p>}
    </>
  )
}
