import { importsOf, rooms } from './rooms.mjs'

/** Bugs are planted in every room; a build is without the module. */
const mutationPoint = '^src/protocol/mutation-point\\.ts$'

const roomRules = rooms.map((room) => ({
  name: `room-${room.name}`,
  comment: `${room.name} knows ${room.knows}. It refuses to know ${room.refuses}.`,
  severity: 'error',
  from: { path: `^src/${room.name}/` },
  to: {
    path: '^src/',
    pathNot: [...[room.name, ...importsOf(room)].map((name) => `^src/${name}/`), mutationPoint],
  },
}))

const wingRules = rooms.flatMap(({ name: room, wings = [] }) =>
  wings.map(({ name, knows }, index) => ({
    name: `wing-${room}-${name}`,
    comment: `${room}/${name} knows ${knows}. It may import the wings above it.`,
    severity: 'error',
    from: { path: `^src/${room}/${name}/` },
    to: {
      path: `^src/${room}/`,
      pathNot: wings.slice(0, index + 1).map((wing) => `^src/${room}/${wing.name}/`),
    },
  })),
)

export default {
  forbidden: [
    ...roomRules,
    ...wingRules,
    {
      name: 'through-the-door',
      comment:
        'A room is imported through its index.ts; fault points and mutation points are taken out of a build by their path.',
      severity: 'error',
      from: { path: '^src/([^/]+)/' },
      to: {
        path: '^src/[^/]+/',
        pathNot: ['^src/$1/', '^src/[^/]+/index\\.ts$', '^src/(core/fault|protocol/mutation)-point\\.ts$'],
      },
    },
    {
      name: 'every-file-has-a-room',
      comment: 'Only the wiring and the public doors stand beside the rooms.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: '^src/(lockstep|index|plan)\\.ts$',
      },
      to: { path: '^src/[^/]+\\.ts$' },
    },
    {
      name: 'no-cycles',
      comment: 'A cycle is two files that are really one, or a type in the wrong place.',
      severity: 'error',
      from: {},
      to: { circular: true },
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
      comment:
        'What is published may only need what it declares; a build puts what the client needs of centrifuge into that file.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/client/centrifuge\\.ts$' },
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
