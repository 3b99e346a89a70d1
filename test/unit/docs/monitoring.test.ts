// The Grafana dashboard, the alert rules and the page about them name metrics that are there.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createPrometheusExport } from '../../../src/monitor/index.ts'
import { parsePrometheus } from '../../support/prometheus-text.ts'

const read = (name: string): string =>
  readFileSync(new URL(`../../../docs/operations/${name}`, import.meta.url), 'utf8')

async function exported(): Promise<ReadonlyMap<string, string>> {
  const { body } = await createPrometheusExport({ gauges: {} }).metrics()
  return parsePrometheus(body).types
}

/** Lists names of metrics in a text that the registry does not have. */
async function unknownIn(text: string): Promise<string[]> {
  const types = await exported()
  const isKnown = (name: string): boolean =>
    types.has(name) || types.get(name.replace(/_(?:bucket|sum|count)$/, '')) === 'histogram'
  const names = text.match(/\blockstep_[a-z_]+\b/g) ?? []
  return [...new Set(names)].filter((name) => !isKnown(name))
}

const files = ['lockstep-dashboard.json', 'alert-rules.yml', 'monitoring.md']

test.each(files)('every metric that %s names is exported', async (file) => {
  expect(await unknownIn(read(file))).toEqual([])
})

test('one that is not exported would be found', async () => {
  expect(await unknownIn('rate(lockstep_gaps_bucket[5m]) lockstep_score_sum lockstep_score')).toEqual([
    'lockstep_gaps_bucket',
    'lockstep_score_sum',
  ])
})

test('every metric that is exported is in monitoring.md and on the Grafana dashboard', async () => {
  for (const name of (await exported()).keys()) {
    expect(read('monitoring.md')).toContain(`\`${name}\``)
    expect(read('lockstep-dashboard.json')).toContain(name)
  }
})

/** Checks that quotes, parentheses, braces and brackets of an expression close in order. */
function isBalanced(expression: string): boolean {
  const open: string[] = []
  const closes: Readonly<Record<string, string>> = { ')': '(', '}': '{', ']': '[' }
  for (const character of expression.replaceAll(/"[^"]*"/g, '')) {
    if ('({['.includes(character)) open.push(character)
    else if (character in closes && open.pop() !== closes[character]) return false
    else if (character === '"') return false
  }
  return open.length === 0
}

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets: readonly { readonly refId: string; readonly expr: string }[]
}

describe('lockstep-dashboard.json', () => {
  const dashboard = JSON.parse(read('lockstep-dashboard.json')) as {
    readonly schemaVersion: number
    readonly uid: string
    readonly title: string
    readonly panels: readonly Panel[]
    readonly templating: { readonly list: readonly { readonly name: string }[] }
  }

  test('has what Grafana needs to import it', () => {
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39)
    expect([dashboard.uid, dashboard.title]).toEqual(['lockstep', 'Lockstep'])
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance'])
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
  })

  test('has panels with queries, side by side', () => {
    const taken = new Set<string>()
    for (const { gridPos, targets } of dashboard.panels) {
      expect(targets.length).toBeGreaterThan(0)
      for (const { expr } of targets) expect([expr, isBalanced(expr)]).toEqual([expr, true])
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
      const cells = Array.from({ length: gridPos.w * gridPos.h }, (_, n) => `${gridPos.x + (n % gridPos.w)}/${gridPos.y + Math.floor(n / gridPos.w)}`) // prettier-ignore
      expect(cells.filter((cell) => taken.has(cell))).toEqual([])
      for (const cell of cells) taken.add(cell)
    }
  })
})

test('alert-rules.yml: each rule has a name of its own, an expression, a severity and a summary', () => {
  const [, ...rules] = read('alert-rules.yml').split(/^ {6}- alert: /m)
  expect(rules.length).toBeGreaterThanOrEqual(8)
  const names = rules.map((rule) => /^\w+/.exec(rule)?.[0])
  expect(new Set(names).size).toBe(rules.length)
  for (const rule of rules) {
    const [, expression = ''] = /^ {8}expr: (.+)$/m.exec(rule) ?? []
    expect(expression).toMatch(/lockstep_/)
    expect([expression, isBalanced(expression)]).toEqual([expression, true])
    expect(rule).toMatch(/^ {10}severity: (?:critical|warning)$/m)
    expect(rule).toMatch(/^ {10}summary: ./m)
    expect(rule).not.toContain('\t')
  }
})

test('an expression that does not close would be found', () => {
  for (const broken of ['sum(a', 'a{b="c}', 'a[5m)', ')(']) expect(isBalanced(broken)).toBe(false)
})
