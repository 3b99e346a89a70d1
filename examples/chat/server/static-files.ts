import { readFile } from 'node:fs/promises'
import { extname, join, normalize, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Hono } from 'hono'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.png': 'image/png',
  '.map': 'application/json',
}

/** The built pages. Names under `assets/` carry a hash of their content, so those may be kept for good. */
export function staticFiles(root: URL): Hono {
  const folder = fileURLToPath(root)
  const app = new Hono()
  app.get('*', async (context) => {
    const path = context.req.path === '/' ? '/index.html' : context.req.path
    const file = await readInside(folder, path)
    if (file === undefined) {
      return context.json({ code: 'DEMO_NOT_FOUND', message: 'There is nothing at this address.' }, 404)
    }
    return context.body(file, 200, {
      'Content-Type': types[extname(path)] ?? 'application/octet-stream',
      'Cache-Control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    })
  })
  return app
}

async function readInside(folder: string, path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  let file: string
  try {
    file = normalize(join(folder, decodeURIComponent(path)))
  } catch {
    return undefined
  }
  if (!file.startsWith(folder.endsWith(sep) ? folder : folder + sep) || file.includes('\0')) return undefined
  try {
    return new Uint8Array(await readFile(file))
  } catch {
    return undefined
  }
}
