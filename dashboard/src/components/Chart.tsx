import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import * as format from '../format.ts'
import { usePalette, type Palette } from './use-palette.ts'

export interface ChartLine {
  readonly at: number
  readonly label: string
}

interface ChartProps {
  /** Seconds since the epoch, then one list for each series. */
  readonly data: uPlot.AlignedData
  readonly series: (palette: Palette) => uPlot.Series[]
  readonly range: uPlot.Range.Function
  /** Seconds since the epoch. */
  readonly span: readonly [number, number]
  readonly height: number
  readonly isLog?: boolean
  readonly tick: (value: number) => string
  /** Horizontal lines, dashed. */
  readonly lines: readonly ChartLine[]
  /** Summary of the chart, for readers who cannot see it. */
  readonly summary: string
  readonly onPoint: (index: number | undefined) => void
}

const font = '11px system-ui, sans-serif'

/** The shape of a chart is made once; later answers only change its data. */
export function Chart(props: ChartProps) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const latest = useRef(props)
  const palette = usePalette()

  useEffect(() => {
    const element = host.current
    if (element === null) return undefined
    const made = new uPlot(chartOptions(latest, palette, element.clientWidth), latest.current.data, element)
    plot.current = made
    const watch = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height: latest.current.height })
    })
    watch.observe(element)
    return () => {
      watch.disconnect()
      made.destroy()
      plot.current = undefined
    }
  }, [palette])

  useEffect(() => {
    latest.current = props
    plot.current?.setData(props.data)
  }, [props])

  return <div ref={host} className="chart" role="img" aria-label={props.summary} />
}

function chartOptions(
  latest: { readonly current: ChartProps },
  palette: Palette,
  width: number,
): uPlot.Options {
  const { series, height, isLog = false } = latest.current
  const axis = { stroke: palette.text, font, ticks: { show: false }, border: { show: false } }
  return {
    width,
    height,
    // Padding on the right is half of the last label, which is centred on the edge.
    padding: [10, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: true, range: () => [...latest.current.span] as uPlot.Range.MinMax },
      y: { range: (...asked) => latest.current.range(...asked), ...(isLog ? { distr: 3 as const } : {}) },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 24,
        gap: 4,
        space: 64,
        // Whole minutes: the labels have no seconds.
        incrs: [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1_440].map((minutes) => minutes * 60),
        values: (_, splits) => splits.map((at) => format.shortTime(at * 1_000)),
      },
      {
        ...axis,
        grid: { stroke: palette.line, width: 1 },
        size: 48,
        gap: 6,
        space: 28,
        values: (_, splits) => splits.map((value) => latest.current.tick(value)),
        ...(isLog ? { splits: powersOfTen, filter: (_: uPlot, splits: number[]) => splits } : {}),
      },
    ],
    series: [{}, ...series(palette)],
    hooks: {
      draw: [(plot) => drawLines(plot, latest.current.lines, palette)],
      setCursor: [(plot) => latest.current.onPoint(plot.cursor.idx ?? undefined)],
    },
  }
}

function powersOfTen(_: uPlot, __: number, min: number, max: number): number[] {
  const found: number[] = []
  for (let power = Math.ceil(Math.log10(min)); 10 ** power <= max * 1.001; power++) found.push(10 ** power)
  return found
}

function drawLines(plot: uPlot, lines: readonly ChartLine[], palette: Palette): void {
  const { ctx, bbox } = plot
  const ratio = uPlot.pxRatio
  ctx.save()
  ctx.strokeStyle = palette.bad
  ctx.fillStyle = palette.bad
  ctx.lineWidth = ratio
  ctx.font = `${11 * ratio}px system-ui, sans-serif`
  ctx.setLineDash([4 * ratio, 3 * ratio])
  for (const { at, label } of lines) {
    const y = Math.round(plot.valToPos(at, 'y', true))
    if (y < bbox.top || y > bbox.top + bbox.height) continue
    ctx.beginPath()
    ctx.moveTo(bbox.left, y)
    ctx.lineTo(bbox.left + bbox.width, y)
    ctx.stroke()
    ctx.textAlign = 'left'
    ctx.textBaseline = 'bottom'
    ctx.fillText(label, bbox.left + 4 * ratio, y - 2 * ratio)
  }
  ctx.restore()
}
