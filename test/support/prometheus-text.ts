// The text format of Prometheus, read as its specification has it and without the library that writes it.

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Exposition {
  readonly samples: readonly Sample[]
  /** Types by the name of the metric. */
  readonly types: ReadonlyMap<string, string>
  readonly helps: ReadonlyMap<string, string>
}

/**
 * Reads the text format, version 0.0.4.
 * @throws for any text in another format
 */
export function parsePrometheus(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('the last line has no line feed')
  const samples: Sample[] = []
  const types = new Map<string, string>()
  const helps = new Map<string, string>()
  for (const line of text.split('\n')) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line)
    if (comment !== null) {
      const [, what, name = '', rest = ''] = comment
      const into = what === 'HELP' ? helps : types
      if (into.has(name)) throw new Error(`second ${what} of ${name}`)
      into.set(name, rest)
    } else if (line !== '' && !line.startsWith('#')) samples.push(parseSample(line))
  }
  const seen = new Set<string>()
  for (const sample of samples) {
    const key = keyOf(sample)
    if (seen.has(key)) throw new Error(`the same series twice: ${key}`)
    seen.add(key)
  }
  return { samples, types, helps }
}

/** Name of a series: the same labels give the same name. */
export function keyOf({ name, labels }: Pick<Sample, 'name' | 'labels'>): string {
  const entries = Object.entries(labels).map(([label, value]) => JSON.stringify([label, value]))
  return `${name}${entries.toSorted((a, b) => (a < b ? -1 : 1)).join('')}`
}

function parseSample(line: string): Sample {
  const [name] = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line) ?? fail(line)
  let at = name.length
  const labels: Record<string, string> = {}
  if (line[at] === '{') {
    at += 1
    while (line[at] !== '}') {
      const [label] = /^[a-zA-Z_][a-zA-Z0-9_]*/.exec(line.slice(at)) ?? fail(line)
      at += label.length
      if (line.slice(at, at + 2) !== '="') fail(line)
      at += 2
      let value = ''
      while (line[at] !== '"') {
        const character = line[at] ?? fail(line)
        if (character === '\\') {
          const escaped = { '\\': '\\', '"': '"', n: '\n' }[line[at + 1] ?? '']
          value += escaped ?? fail(line)
          at += 2
        } else {
          value += character
          at += 1
        }
      }
      at += 1
      if (label in labels) fail(line)
      labels[label] = value
      if (line[at] === ',') at += 1
      else if (line[at] !== '}') fail(line)
    }
    at += 1
  }
  const [, number = ''] = /^ (\S+)$/.exec(line.slice(at)) ?? fail(line)
  const value = { '+Inf': Infinity, '-Inf': -Infinity, Nan: Number.NaN }[number] ?? Number(number)
  if (Number.isNaN(value) && number !== 'Nan') fail(line)
  return { name, labels, value }
}

function fail(line: string): never {
  throw new Error(`not the text format: ${line}`)
}
