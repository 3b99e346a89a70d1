// docs/reference/schema.md against a migrated database: its tables, and the SQL that it gives.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type World } from '../../support/world.ts'

const text = readFileSync(new URL('../../../docs/reference/schema.md', import.meta.url), 'utf8')
const inBytes = (a: string, b: string): number => (a < b ? -1 : 1)
const coverage = /```sql\n(.*?)```/s.exec(text)?.[1] ?? ''

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

test('names every table and column there is', async () => {
  const listed = [...text.matchAll(/^\| `(\w+)` +\| [^|]+\| ([^|]+)\|/gm)].map(
    ([, table = '', columns = '']) => ({
      table,
      columns: [...columns.matchAll(/`(\w+)`/g)].map(([, column = '']) => column).toSorted(inBytes),
    }),
  )
  const there = await world.rows(
    `select table_name as table, array_agg(column_name::text order by column_name collate "C") as columns
     from information_schema.columns where table_schema = 'lockstep' group by 1 order by 1`,
  )
  expect(listed.toSorted((a, b) => inBytes(a.table, b.table))).toEqual(there)
})

test('names every function there is', async () => {
  const there = await world.rows<{ name: string }>(
    `select proname as name from pg_proc where pronamespace = 'lockstep'::regnamespace`,
  )
  for (const { name } of there) expect(text).toContain(`\`${name}\``)
})

test('its coverage of notices is 100 % when every user was notified, and less otherwise', async () => {
  expect(await world.rows(coverage)).toEqual([{ rolled_back: '0', notified: '0', coverage: '100' }])

  const fails = { room: '1', id: 'n', text: 'x', fail: true }
  await world.addNote.call(fails, { user: 'ada' })
  await world.addNote.call(fails, { user: 'bob' })
  await world.addNote.call({ ...fails, fail: false }, { user: 'bob' })
  expect(await world.rows(coverage)).toEqual([{ rolled_back: '2', notified: '2', coverage: '100.00' }])

  await world.rows(`delete from lockstep.events where channel = 'user:bob'`)
  expect(await world.rows(coverage)).toEqual([{ rolled_back: '2', notified: '1', coverage: '50.00' }])
})
