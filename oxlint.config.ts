import { defineConfig, type OxlintConfig } from 'oxlint'

/*
 * The walls of the repository (docs/architecture.md): each vendor and each app has one place that may import it.
 * `test/walls.test.ts` breaks every wall once and expects the linter to say so.
 */

const walls = {
  docker: { group: ['dockerode', 'docker-modem'], message: 'Only packages/engine talks to Docker.' },
  queue: { group: ['bullmq'], message: 'Only the queue folder of the API and of the worker talk to BullMQ.' },
  sql: { group: ['drizzle-orm', 'drizzle-orm/*', 'pg'], message: 'Only packages/db holds SQL.' },
  redis: { group: ['ioredis'], message: 'Only the redis place of each app talks to Redis.' },
  proxying: {
    group: ['undici', 'http-proxy', 'httpxy'],
    message: 'Only the upstream place of the router proxies HTTP.',
  },
  processes: {
    group: ['child_process', 'node:child_process', 'cluster', 'node:cluster'],
    message: 'Only infra and tests start processes.',
  },
  environment: {
    group: ['process', 'node:process'],
    message: 'The global `process` does, and only main.ts reads the environment and handles signals.',
  },
  apps: {
    regex:
      '(^|/)apps/(api|router|worker)(/|$)|^@berth/(api|router|worker)(/|$)|^(\\.\\./)+(api|router|worker)/src/',
    message: 'Apps never import each other.',
  },
  /** Whatever a package exports is found under its name; the walls below count on that. */
  packagePaths: {
    regex: '(^|/)packages/[a-z]+(/|$)|^(\\.\\./)+(contracts|db|engine|scheduler)/',
    message: 'Import packages by their name.',
  },
  contracts: {
    regex: '^@berth/contracts(/|$)',
    message: 'packages/contracts and packages/scheduler stand alone.',
  },
  db: { regex: '^@berth/db(/|$)', message: 'API, worker and infra alone know the database.' },
  engine: { regex: '^@berth/engine(/|$)', message: 'API, worker and infra alone know engines.' },
  scheduler: {
    regex: '^@berth/scheduler(/|$)',
    message: 'Only the worker decides; the API asks about drains, and explains what it would decide.',
  },
} satisfies Record<string, { message: string } & ({ group: string[] } | { regex: string })>
type Wall = keyof typeof walls

type Rules = NonNullable<OxlintConfig['rules']>

/** Everything that is not behind a wall, and what is behind these. */
function mayImport(...open: Wall[]): Rules {
  const closed = (Object.keys(walls) as Wall[]).filter((wall) => !open.includes(wall))
  const patterns = closed.map((wall) => walls[wall])
  return { 'no-restricted-imports': ['error', { patterns, paths: noShellPrograms }] }
}

/** Also where processes are started: these two take a line for a shell. */
const noShellPrograms = ['child_process', 'node:child_process'].map((name) => ({
  name,
  importNames: ['exec', 'execSync'],
  message: 'No shell string anywhere: use execFile or spawn with a list of arguments.',
}))

/** `process.kill`, `process.pid` and the like are for all; what belongs to the whole process is for main.ts. */
const ofMain = ['argv', 'env', 'exit', 'exitCode', 'on', 'once', 'addListener'].map((property) => ({
  object: 'process',
  property,
  message: 'Only main.ts reads the environment, handles signals and ends the process.',
}))
const onlyInMain: Rules = { 'no-restricted-properties': ['error', ...ofMain] }
const asMain: Rules = { 'no-restricted-properties': 'off' }

/** Packages that decide import nothing outside themselves, and know no time, chance or machine. */
const nothingOutside: Rules = {
  'no-restricted-imports': [
    'error',
    {
      patterns: [
        { regex: '^[^.]', message: 'packages/scheduler imports nothing outside itself.' },
        { regex: '(^|/)\\.\\./(.*/)?\\.\\./', message: 'packages/scheduler imports nothing outside itself.' },
        walls.packagePaths,
      ],
    },
  ],
  'no-restricted-properties': [
    'error',
    { object: 'Math', property: 'random', message: 'Take a source of chance as an argument.' },
  ],
  'no-restricted-globals': [
    'error',
    ...['Date', 'performance', 'Temporal', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'].map(
      (name) => ({
        name,
        message: 'Take the time as an argument.',
      }),
    ),
    ...['process', 'crypto', 'fetch', 'console', 'globalThis'].map((name) => ({
      name,
      message: 'packages/scheduler decides and does nothing.',
    })),
  ],
}

export default defineConfig({
  plugins: ['typescript', 'import', 'unicorn', 'oxc', 'node', 'promise'],
  options: { typeAware: true },
  categories: { correctness: 'error', suspicious: 'error' },
  rules: {
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/consistent-type-imports': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/no-unnecessary-type-parameters': 'off',
    'typescript/no-unnecessary-boolean-literal-compare': 'off',
    'typescript/consistent-return': 'off',
    'unicorn/no-array-sort': 'off',
    'unicorn/no-array-reverse': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'unicorn/prefer-add-event-listener': 'off',
    'promise/always-return': 'off',
    'promise/no-multiple-resolved': 'off',
    'import/no-unassigned-import': 'off',
    'import/no-named-as-default': 'off',
    'import/no-named-as-default-member': 'off',
    'no-await-in-loop': 'off',
    'no-underscore-dangle': 'off',
    'no-shadow': 'off',
    eqeqeq: ['error', 'always', { null: 'ignore' }],
    'no-unmodified-loop-condition': 'off',
    'berth/no-shell': 'error',
    ...onlyInMain,
    ...mayImport(),
  },
  jsPlugins: ['./test/lint/no-shell.ts'],
  ignorePatterns: ['packages/db/migrations/**'],
  overrides: [
    { files: ['packages/scheduler/src/**'], rules: nothingOutside },
    {
      files: ['packages/scheduler/src/**/*.test.ts'],
      rules: { ...mayImport(), 'no-restricted-globals': 'off' },
    },
    { files: ['packages/engine/**'], rules: mayImport('contracts', 'docker') },
    { files: ['packages/db/**'], rules: mayImport('contracts', 'sql') },
    { files: ['apps/api/**'], rules: mayImport('contracts', 'db', 'engine') },
    {
      files: ['apps/api/src/operations/{node-drain,drain-eta}.ts'],
      rules: mayImport('contracts', 'db', 'engine', 'scheduler'),
    },
    { files: ['apps/api/src/explain/**'], rules: mayImport('contracts', 'db', 'engine', 'scheduler') },
    { files: ['apps/api/src/queue/**'], rules: mayImport('contracts', 'db', 'queue', 'redis') },
    { files: ['apps/api/src/**/*.test.ts'], rules: mayImport('contracts', 'db', 'engine', 'queue', 'redis') },
    { files: ['apps/router/**'], rules: mayImport('contracts') },
    { files: ['apps/router/src/redis/**'], rules: mayImport('contracts', 'redis') },
    { files: ['apps/router/src/upstream/**'], rules: mayImport('contracts', 'proxying') },
    {
      files: ['apps/router/src/**/*.test.ts', 'apps/router/src/testing/**'],
      rules: mayImport('contracts', 'redis', 'processes'),
    },
    { files: ['apps/worker/**'], rules: mayImport('contracts', 'db', 'engine', 'scheduler') },
    { files: ['apps/worker/src/queue/**'], rules: mayImport('contracts', 'db', 'queue', 'redis') },
    { files: ['apps/worker/src/redis/**'], rules: mayImport('contracts', 'redis') },
    {
      files: ['apps/worker/src/**/*.test.ts'],
      rules: mayImport('contracts', 'db', 'engine', 'scheduler', 'queue', 'redis'),
    },
    { files: ['infra/**'], rules: mayImport('contracts', 'db', 'engine', 'processes') },
    {
      files: ['test/**'],
      rules: {
        ...mayImport('contracts', 'db', 'engine', 'scheduler', 'processes', 'redis', 'sql'),
        ...asMain,
      },
    },
    // Here they are what Berth is measured beside.
    {
      files: ['test/bench/proxies/**'],
      rules: { ...mayImport('contracts', 'processes', 'proxying'), ...asMain },
    },
    {
      files: [
        '**/main.ts',
        '**/migrate-main.ts',
        '**/generate-migration.ts',
        'samples/**',
        '**/*.test.ts',
        'apps/*/src/testing/**',
      ],
      rules: asMain,
    },
  ],
})
