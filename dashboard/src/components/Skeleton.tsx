/** The outline of the page while the first answer is on its way. */
export function Skeleton() {
  return (
    <div className="grid" aria-hidden="true">
      <div className="section" data-wide="some">
        <span className="skeleton skeleton-short" />
        <span className="skeleton skeleton-score" />
        {['a', 'b', 'c', 'd', 'e', 'f'].map((key) => (
          <span key={key} className="skeleton" />
        ))}
      </div>
      <div className="section" data-wide="most">
        <span className="skeleton skeleton-short" />
        <span className="skeleton skeleton-chart" />
      </div>
      <div className="section" data-wide="full">
        <span className="skeleton skeleton-short" />
        <span className="skeleton skeleton-chart" />
      </div>
      <div className="section" data-wide="full">
        <span className="skeleton skeleton-short" />
        {['a', 'b', 'c', 'd', 'e'].map((key) => (
          <span key={key} className="skeleton skeleton-row" />
        ))}
      </div>
    </div>
  )
}
