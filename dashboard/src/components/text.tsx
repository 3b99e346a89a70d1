import * as format from '../format.ts'

const shown = 200

/** A value from outside: kept to one line and from turning its neighbours around; in full on hover. */
export function Clip({ text, mono = false }: { readonly text: string; readonly mono?: boolean }) {
  const visible = text.length > shown ? `${text.slice(0, shown)}…` : text
  return (
    <bdi className={mono ? 'clip mono' : 'clip'} title={text.slice(0, 2_000)}>
      {visible === '' ? '(no name)' : visible}
    </bdi>
  )
}

export function Time({ at, full = false }: { readonly at: string | number; readonly full?: boolean }) {
  return (
    <time dateTime={format.isoTime(at)} title={format.dateTime(at)}>
      {full ? format.dateTime(at) : format.time(at)}
    </time>
  )
}

export function Hidden({ children }: { readonly children: string }) {
  return <span className="visually-hidden">{children}</span>
}
