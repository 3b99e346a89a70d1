import type { LaneFindings } from './lane.ts'

/** The findings of a lane for a terminal. */
export function printFindings(lane: string, { tables, missing = [] }: LaneFindings): void {
  for (const { title, note, columns, rows } of tables) {
    console.log(`\n${lane} · ${title}`)
    if (note !== undefined) console.log(note)
    const lines = [columns, ...rows].map((row) => row.map(String))
    const widths = columns.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
    for (const line of lines) {
      const cells = line.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      console.log(`  ${cells.join('  ')}`)
    }
  }
  for (const line of missing) console.log(`not measured: ${line}`)
  console.log('')
}
