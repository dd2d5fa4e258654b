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
    group: ['undici', 'http-proxy'],
    message: 'Only the upstream place of the router proxies HTTP.',
  },
  processes: {
    group: ['child_process', 'node:child_process', 'cluster', 'node:cluster'],
    message: 'Only infra and tests start processes.',
  },
  apps: {
    regex:
      '(^|/)apps/(api|router|worker)(/|$)|^@berth/(api|router|worker)(/|$)|^(\\.\\./)+(api|router|worker)/src/',
    message: 'Apps never import each other.',
  },
}
type Wall = keyof typeof walls

type Rules = NonNullable<OxlintConfig['rules']>

function everyWallBut(...open: Wall[]): Rules {
  const closed = (Object.keys(walls) as Wall[]).filter((wall) => !open.includes(wall))
  return { 'no-restricted-imports': ['error', { patterns: closed.map((wall) => walls[wall]) }] }
}

/** Packages that decide import nothing outside themselves. */
const nothingOutside: Rules = {
  'no-restricted-imports': [
    'error',
    { patterns: [{ regex: '^[^.]', message: 'packages/scheduler imports nothing outside itself.' }] },
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
    ...everyWallBut(),
  },
  ignorePatterns: ['packages/db/migrations/**'],
  overrides: [
    { files: ['packages/scheduler/src/**'], rules: nothingOutside },
    { files: ['packages/scheduler/src/**/*.test.ts'], rules: everyWallBut() },
    { files: ['packages/engine/**'], rules: everyWallBut('docker') },
    { files: ['packages/db/**'], rules: everyWallBut('sql') },
    { files: ['apps/api/src/queue/**', 'apps/worker/src/queue/**'], rules: everyWallBut('queue', 'redis') },
    { files: ['apps/worker/src/redis/**', 'apps/router/src/redis/**'], rules: everyWallBut('redis') },
    { files: ['apps/router/src/upstream/**'], rules: everyWallBut('proxying') },
    { files: ['apps/router/src/**/*.test.ts'], rules: everyWallBut('redis', 'processes') },
    { files: ['apps/worker/src/**/*.test.ts'], rules: everyWallBut('redis', 'queue') },
    { files: ['apps/api/src/**/*.test.ts'], rules: everyWallBut('redis', 'queue') },
    { files: ['infra/**', 'samples/**'], rules: everyWallBut('processes') },
    { files: ['test/**'], rules: everyWallBut('processes', 'redis', 'sql') },
  ],
})
