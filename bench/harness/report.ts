// docs/performance.md between its markers, and the plots, from what bench/results holds.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import type { Cell, Plot, Table } from './lane.ts'
import { drawBars } from './plot.ts'
import { readResults, type LaneResult } from './results.ts'

const page = fileURLToPath(new URL('../../docs/performance.md', import.meta.url))
const image = (name: string): string => fileURLToPath(new URL(`../../docs/images/${name}`, import.meta.url))

/** Writes the page and the plots. */
export async function report(): Promise<void> {
  const results = readResults()
  writeFileSync(page, await renderPage(readFileSync(page, 'utf8'), results))
  for (const result of results.values()) {
    for (const plot of result.plots ?? []) writeFileSync(image(plotFile(result, plot)), drawBars(plot))
  }
}

/** The page with everything between its markers made anew. */
export async function renderPage(text: string, results: ReadonlyMap<string, LaneResult>): Promise<string> {
  const filled = text.replaceAll(
    /(<!-- bench:([a-z]+) -->\n)[^]*?(<!-- \/bench:\2 -->)/g,
    (_, begin: string, lane: string, end: string) => `${begin}\n${section(results.get(lane))}\n${end}`,
  )
  return format(filled, { ...(await resolveConfig(page)), parser: 'markdown' })
}

function section(result: LaneResult | undefined): string {
  if (result === undefined) return 'Not measured yet.\n'
  const plots = (result.plots ?? []).map((plot) => `![${plot.title}](images/${plotFile(result, plot)})\n`)
  const missing = (result.missing ?? []).map((line) => `Not measured: ${line}\n`)
  return [...result.tables.map(tableOf), ...plots, ...missing, provenance(result)].join('\n')
}

export const plotFile = ({ lane }: LaneResult, { name }: Plot): string => `bench-${lane}-${name}.svg`

function tableOf({ title, note, columns, rows }: Table): string {
  const line = (cells: readonly Cell[]): string => `| ${cells.map(cellOf).join(' | ')} |`
  const rule = `| --- ${'| ---: '.repeat(columns.length - 1)}|`
  const head = note === undefined ? `**${title}.**` : `**${title}.** ${note}`
  return `${head}\n\n${[line(columns), rule, ...rows.map(line)].join('\n')}\n`
}

const cellOf = (cell: Cell): string => (typeof cell === 'number' ? cell.toLocaleString('en', digits) : cell)
const digits = { maximumSignificantDigits: 4 } as const

function provenance({
  lane,
  rounds,
  seconds,
  quick,
  machine,
  library = 'sources through tsx',
}: LaneResult): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`)
  return (
    `_\`npm run bench -- ${lane}${quick ? ' --quick' : ''} --rounds ${rounds} --seconds ${seconds}\` at commit ` +
    `${machine.commit} (${library}): ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, ` +
    `load ${machine.load.join(' ')} before it; ${versions.join(', ')}._\n`
  )
}
