import { Component, type ReactNode } from 'react'

/** Catches errors of rendering, so that an unexpected answer does not leave the page blank. */
export class Guard extends Component<{ readonly children: ReactNode }, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false }

  static getDerivedStateFromError(): { readonly hasFailed: boolean } {
    return { hasFailed: true }
  }

  override render(): ReactNode {
    if (!this.state.hasFailed) return this.props.children
    return (
      <main className="main">
        <div className="screen" role="alert">
          <h1>This page could not show the data</h1>
          <p>The browser&apos;s console says why. The figures are also at /lockstep/health.</p>
          <button type="button" className="button button-primary" onClick={() => location.reload()}>
            Reload
          </button>
        </div>
      </main>
    )
  }
}
