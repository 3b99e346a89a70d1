import type { Plot } from './lane.ts'

const [barHeight, groupGap, left, chartWidth, right] = [16, 14, 150, 420, 90]
// Colours that differ without colour vision too (Okabe and Ito), and by their order.
const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#999999']

/** Horizontal bars as SVG, legible on light and dark pages. */
export function drawBars({ title, unit, labels, series }: Plot): string {
  const largest = Math.max(...series.flatMap(({ values }) => values), Number.MIN_VALUE)
  const groupHeight = series.length * barHeight + groupGap
  const top = 52
  const height = top + labels.length * groupHeight + 8
  const width = left + chartWidth + right
  const bars = labels.flatMap((label, group) => {
    const groupTop = top + group * groupHeight
    const middle = groupTop + (series.length * barHeight) / 2 + 4
    return [
      `<text x="${left - 8}" y="${middle}" text-anchor="end">${escape(label)}</text>`,
      ...series.flatMap(({ values }, place) => {
        const value = values[group] ?? 0
        const length = Math.max(1, Math.round((value / largest) * chartWidth))
        const y = groupTop + place * barHeight
        return [
          `<rect x="${left}" y="${y + 1}" width="${length}" height="${barHeight - 2}" fill="${colours[place % colours.length]}"/>`,
          `<text x="${left + length + 5}" y="${y + 12}">${value.toLocaleString('en', { maximumSignificantDigits: 4 })}</text>`,
        ]
      }),
    ]
  })
  let x = left
  const legend = series.map(({ name }, place) => {
    const entry =
      `<rect x="${x}" y="30" width="10" height="10" fill="${colours[place % colours.length]}"/>` +
      `<text x="${x + 14}" y="39">${escape(name)}</text>`
    x += 28 + name.length * 7
    return entry
  })
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.max(width, x)} ${height}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="#808080">`,
    `<title>${escape(title)}</title>`,
    `<text x="8" y="18" font-size="14">${escape(title)} (${escape(unit)})</text>`,
    ...legend,
    ...bars,
    '</svg>',
  ].join('\n')}\n`
}

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
