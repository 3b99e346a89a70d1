import { importsOf, rooms } from './rooms.mjs'

const roomRules = rooms.map((room) => ({
  name: `room-${room.name}`,
  comment: `${room.name} knows ${room.knows}. It refuses to know ${room.refuses}.`,
  severity: 'error',
  from: { path: `^src/${room.name}/` },
  to: {
    path: '^src/',
    pathNot: [room.name, ...importsOf(room)].map((name) => `^src/${name}/`),
  },
}))

export default {
  forbidden: [
    ...roomRules,
    {
      name: 'every-file-has-a-room',
      comment: 'Only the wiring and the public door stand beside the rooms.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(lockstep|monitoring|node|options|rpc|index)\\.ts$' },
      to: { path: '^src/[^/]+\\.ts$' },
    },
    {
      name: 'no-cycles',
      comment: 'A cycle is two files that are really one, or a type in the wrong place.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'client-runs-in-browsers',
      comment: 'No module of Node may reach the browser.',
      severity: 'error',
      from: { path: '^src/(client|protocol)/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-development-dependencies',
      comment: 'What is published may only need what it declares.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'default'],
    },
  },
}
