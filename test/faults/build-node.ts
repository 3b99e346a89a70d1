// Bundles node.ts and the client, once for each variant: a bundle starts in a fraction of the time that compiling takes.
import { createRequire } from 'node:module'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MutationPoint } from '../../src/protocol/mutation-point.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface NodeBundles {
  /**
   * Builds a server process with these bugs.
   * @returns the path of the bundle
   */
  build(name: string, points?: readonly MutationPoint[]): Promise<string>
  /**
   * Builds `lockstep/client` as a module with these bugs.
   * @returns the path of the module
   */
  buildClient(name: string, points?: readonly MutationPoint[]): Promise<string>
  /** Removes the bundles. */
  close(): Promise<void>
}

interface EsbuildSetup {
  onResolve(filter: object, resolve: () => object): void
  onLoad(filter: object, load: (file: { readonly path: string }) => unknown): void
}

/** Part of esbuild, which comes with tsx, that is used here. */
interface Esbuild {
  build(options: object): Promise<unknown>
}

/**
 * Opens a folder of its own for the bundles of a node's program.
 * @param entry file that a node runs, below the repository's root
 */
export async function createNodeBundles(entry = 'test/faults/node.ts'): Promise<NodeBundles> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-fault-node-'))
  // The bundles import packages, and so does a program that runs them: both find them through this link.
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  const own = createRequire(import.meta.url)
  const esbuild = createRequire(own.resolve('tsx'))('esbuild') as Esbuild
  const bundle = async (source: string, outfile: string, points: readonly MutationPoint[] = []) => {
    // The import that plants the bugs comes first, since a bundle runs in the order of its imports.
    const plant = `import { plantMutations } from './src/protocol/mutation-point.ts'
      plantMutations(${JSON.stringify(points)})`
    await mkdir(dirname(outfile), { recursive: true })
    await esbuild.build({
      stdin: { contents: `import 'planted'\nexport * from './${source}'`, resolveDir: root, loader: 'ts' },
      outfile,
      bundle: true,
      // The package promises that its modules have no side effects; the entry has some, and must not be dropped.
      ignoreAnnotations: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      packages: 'external',
      sourcemap: 'inline',
      logLevel: 'silent',
      plugins: [
        {
          name: 'planted',
          setup(build: EsbuildSetup) {
            build.onResolve({ filter: /^planted$/ }, () => ({ path: 'planted', namespace: 'planted' }))
            build.onLoad({ filter: /.*/, namespace: 'planted' }, () => ({
              contents: plant,
              resolveDir: root,
              loader: 'ts',
            }))
          },
        },
      ],
    })
    return outfile
  }
  return {
    build: (name, points) => bundle(entry, join(folder, name, 'node.mjs'), points),
    buildClient: (name, points) => bundle('src/client/index.ts', join(folder, name, 'client.mjs'), points),
    close: () => rm(folder, { recursive: true, force: true }),
  }
}
