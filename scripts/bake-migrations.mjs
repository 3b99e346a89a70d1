// Bakes sql/migrations/*.sql into a module, so that the package needs no file access to migrate.
// With --check it changes nothing and fails when the module is out of date.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'

const folder = new URL('../sql/migrations/', import.meta.url)
const target = new URL('../src/postgres/migrations.generated.ts', import.meta.url)

const entries = readdirSync(folder)
  .filter((file) => file.endsWith('.sql'))
  .toSorted()
  .map((file, index) => {
    const found = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file)
    if (found === null) throw new Error(`${file}: migrations are named NNNN_name.sql`)
    const version = Number(found[1])
    if (version !== index + 1) throw new Error(`${file}: expected version ${index + 1}; leave no hole`)
    return { version, name: found[2], sql: readFileSync(new URL(file, folder), 'utf8') }
  })

const body = entries
  .map(({ version, name, sql }) => {
    const text = sql.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
    return `  {\n    version: ${version},\n    name: '${name}',\n    sql: \`${text}\`,\n  },\n`
  })
  .join('')
const module = `// Made by scripts/bake-migrations.mjs from sql/migrations; change it there.

export interface Migration {
  readonly version: number
  readonly name: string
  /** Text with \`{schema}\` where the quoted schema name belongs. */
  readonly sql: string
}

export const migrations: readonly Migration[] = [
${body}]
`

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== module) {
    console.error('src/postgres/migrations.generated.ts is out of date: run node scripts/bake-migrations.mjs')
    process.exit(1)
  }
} else {
  writeFileSync(target, module)
}
