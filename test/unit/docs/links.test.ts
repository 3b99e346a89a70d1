// Links between the pages lead to files and headings that are there.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file)),
]

const withoutCode = (text: string): string => text.replaceAll(/^```.*?^```$/gms, '')

/** Makes anchors of headings as GitHub does. */
function anchorsOf(path: string): string[] {
  const headings = withoutCode(readFileSync(path, 'utf8')).matchAll(/^#+ (.+)$/gm)
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  )
}

function brokenLinks(page: string, text: string): string[] {
  const links = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false
    const [file = '', anchor] = link.split('#')
    const path = file === '' ? join(root, page) : join(root, dirname(page), file)
    if (!existsSync(path)) return true
    return anchor !== undefined && !anchorsOf(path).includes(anchor)
  })
}

test.each(pages)('%s', (page) => {
  expect(brokenLinks(page, readFileSync(join(root, page), 'utf8'))).toEqual([])
})

test('a broken link would be found', () => {
  const text =
    '[a](LICENSE) [b](nowhere.md) [c](README.md#nowhere) [d](README.md#try-it) [e](https://x.example)'
  expect(brokenLinks('README.md', text)).toEqual(['nowhere.md', 'README.md#nowhere'])
})
