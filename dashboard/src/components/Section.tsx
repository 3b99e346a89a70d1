import { useId, type ReactNode } from 'react'

interface SectionProps {
  readonly title: string
  readonly hint?: ReactNode
  readonly wide?: 'full' | 'most' | 'half' | 'some'
  readonly children: ReactNode
}

/** A card of the page: a landmark by its heading. */
export function Section({ title, hint, wide = 'full', children }: SectionProps) {
  const id = useId()
  return (
    <section className="section" data-wide={wide} aria-labelledby={id}>
      <div className="section-head">
        <h2 id={id}>{title}</h2>
        {hint !== undefined && <p className="hint">{hint}</p>}
      </div>
      {children}
    </section>
  )
}

export function Nothing({ children }: { readonly children: ReactNode }) {
  return <p className="nothing">{children}</p>
}
