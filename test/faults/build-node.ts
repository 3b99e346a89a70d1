// Bundles node.ts and the client, once for each variant: a bundle starts in a fraction of the time that compiling takes.
import { createRequire } from 'node:module'
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** One exact text in one file of the sources, and what stands there instead. */
export interface Replacement {
  /** Below the repository's root. */
  readonly file: string
  readonly find: string
  readonly put: string
}

export interface NodeBundles {
  /** Path of a server process, with these replacements. @throws when a text is not there exactly once */
  build(name: string, replacements?: readonly Replacement[]): Promise<string>
  /** Path of `lockstep/client` as a module, likewise. */
  buildClient(name: string, replacements: readonly Replacement[]): Promise<string>
  /** Removes the bundles. */
  close(): Promise<void>
}

/** What is used of esbuild, which comes with tsx. */
interface Esbuild {
  build(options: object): Promise<unknown>
}

/** @param entry what a node runs, below the repository's root */
export async function createNodeBundles(entry = 'test/faults/node.ts'): Promise<NodeBundles> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-fault-node-'))
  // The bundles import packages, and so has whoever runs them to find them.
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  const own = createRequire(import.meta.url)
  const esbuild = createRequire(own.resolve('tsx'))('esbuild') as Esbuild
  const bundle = async (source: string, outfile: string, replacements: readonly Replacement[]) => {
    const replaced = await replace(replacements)
    await mkdir(dirname(outfile), { recursive: true })
    await esbuild.build({
      entryPoints: [join(root, source)],
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      packages: 'external',
      sourcemap: 'inline',
      logLevel: 'silent',
      plugins: [
        {
          name: 'replacements',
          setup(build: { onLoad: (filter: object, load: (file: { path: string }) => unknown) => void }) {
            build.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
              const contents = replaced.get(relative(root, path))
              return contents === undefined ? undefined : { contents, loader: 'ts' }
            })
          },
        },
      ],
    })
    return outfile
  }
  return {
    build: (name, replacements = []) => bundle(entry, join(folder, name, 'node.mjs'), replacements),
    buildClient: (name, replacements) =>
      bundle('src/client/index.ts', join(folder, name, 'client.mjs'), replacements),
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

async function replace(replacements: readonly Replacement[]): Promise<ReadonlyMap<string, string>> {
  const contents = new Map<string, string>()
  for (const { file, find, put } of replacements) {
    const text = contents.get(file) ?? (await readFile(join(root, file), 'utf8'))
    const places = text.split(find).length - 1
    if (places !== 1) {
      throw new Error(
        `${basename(file)} holds this text ${places} times instead of once: ${JSON.stringify(find)}`,
      )
    }
    contents.set(
      file,
      text.replace(find, () => put),
    )
  }
  return contents
}
