import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
}

export interface PageFile {
  readonly contentType: string
  readonly content: Uint8Array<ArrayBuffer>
}

/**
 * The built page of the dashboard: `index.html` and `assets/`. A name is looked up among the regular files that are
 * there and never becomes part of a path, so no name leads out of the folder.
 */
export class PageFiles {
  readonly #folder: string

  constructor(folder: URL | string) {
    this.#folder = typeof folder === 'string' ? folder : fileURLToPath(folder)
  }

  /** Undefined when the page was not built. */
  index(): Promise<PageFile | undefined> {
    return read(this.#folder, 'index.html')
  }

  asset(name: string): Promise<PageFile | undefined> {
    return read(join(this.#folder, 'assets'), name)
  }
}

async function read(folder: string, name: string): Promise<PageFile | undefined> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    const file = entries.find((entry) => entry.isFile() && entry.name === name)
    const contentType = types[extname(name)]
    if (file === undefined || contentType === undefined) return undefined
    return { contentType, content: new Uint8Array(await readFile(join(folder, file.name))) }
  } catch {
    // The folder is not there, or the file has just gone.
    return undefined
  }
}
