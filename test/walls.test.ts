import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
let folder: string

/** What is behind a wall, in each place that may not have it, and a place that may. */
const imports: { specifier: string; refused: string[]; allowed?: string }[] = [
  { specifier: 'dockerode', refused: ['apps/worker/src', 'infra/src'], allowed: 'packages/engine/src' },
  { specifier: 'bullmq', refused: ['apps/api/src/routes', 'apps/worker/src'], allowed: 'apps/api/src/queue' },
  { specifier: 'drizzle-orm', refused: ['apps/api/src/routes', 'infra/src'], allowed: 'packages/db/src' },
  { specifier: 'pg', refused: ['apps/worker/src'], allowed: 'packages/db/src' },
  { specifier: 'ioredis', refused: ['apps/router/src', 'infra/src'], allowed: 'apps/router/src/redis' },
  { specifier: 'undici', refused: ['apps/router/src'], allowed: 'apps/router/src/upstream' },
  {
    specifier: 'node:child_process',
    refused: ['apps/worker/src', 'packages/engine/src'],
  },
  { specifier: 'node:process', refused: ['apps/api/src', 'infra/src'] },
  { specifier: '../../router/src/main.ts', refused: ['apps/api/src'] },
  { specifier: '../../../apps/router/src/main.ts', refused: ['packages/db/src'] },
  { specifier: '@berth/db', refused: ['apps/router/src', 'packages/contracts/src'], allowed: 'infra/src' },
  {
    specifier: '@berth/engine',
    refused: ['apps/router/src/upstream', 'packages/db/src'],
    allowed: 'apps/api/src',
  },
  { specifier: '@berth/scheduler', refused: ['apps/api/src', 'apps/router/src'], allowed: 'apps/worker/src' },
  { specifier: '@berth/scheduler', refused: ['apps/api/src/operations'], allowed: 'apps/api/src/explain' },
  {
    specifier: '@berth/contracts',
    refused: ['packages/scheduler/src', 'packages/contracts/src'],
    allowed: 'packages/db/src',
  },
  { specifier: '../../../packages/db/src/index.ts', refused: ['apps/router/src'] },
  {
    specifier: '../../contracts/src/index.ts',
    refused: ['packages/scheduler/src', 'packages/scheduler/src/testing'],
  },
  { specifier: 'node:fs', refused: ['packages/scheduler/src'], allowed: 'packages/db/src' },
]

/** The same for what code does. */
const deeds: { code: string; rule: string; refused: string[]; allowed?: string }[] = [
  {
    code: 'export const now = Date.now()',
    rule: 'no-restricted-globals',
    refused: ['packages/scheduler/src/a.ts'],
    allowed: 'packages/db/src/a.ts',
  },
  {
    code: 'export const chance = Math.random()',
    rule: 'no-restricted-properties',
    refused: ['packages/scheduler/src/b.ts'],
    allowed: 'packages/db/src/b.ts',
  },
  {
    code: `export const home = process.env['HOME']`,
    rule: 'no-restricted-globals',
    refused: ['packages/scheduler/src/c.ts'],
  },
  {
    code: `export const home = process.env['HOME']`,
    rule: 'no-restricted-properties',
    refused: ['apps/api/src/d.ts', 'packages/engine/src/d.ts', 'infra/src/d.ts'],
    allowed: 'apps/api/src/main.ts',
  },
  {
    code: `process.on('SIGTERM', () => undefined)`,
    rule: 'no-restricted-properties',
    refused: ['apps/worker/src/e.ts', 'infra/src/e.ts'],
    allowed: 'infra/src/main.ts',
  },
  {
    code: `import { execSync } from 'node:child_process'\nexport const ran = execSync('true')`,
    rule: 'no-restricted-imports',
    refused: ['infra/src/f.ts', 'test/support/f.ts'],
  },
  {
    code: `import { exec } from 'child_process'\nexport const ran = exec('true')`,
    rule: 'no-restricted-imports',
    refused: ['infra/src/g.ts'],
  },
  {
    code: `import { spawn } from 'node:child_process'\nexport const ran = spawn('true', [], { shell: true })`,
    rule: 'no-shell',
    refused: ['infra/src/h.ts', 'test/support/h.ts'],
  },
  {
    code: `import { execFile } from 'node:child_process'\nexport const ran = execFile('true')`,
    rule: 'no-restricted-imports',
    refused: ['apps/api/src/i.ts'],
    allowed: 'infra/src/i.ts',
  },
  {
    code: 'const work = () => Promise.resolve(1)\nwork()',
    rule: 'no-floating-promises',
    refused: ['apps/worker/src/j.ts'],
  },
]

/** One file that should, or should not, be told off by a rule. */
type Case = { file: string; code: string; rule: string }

const importCase = (place: string, specifier: string, index: number): Case => ({
  file: `${place}/import-${index}.ts`,
  code: `import * as outside from '${specifier}'\nexport const kept = outside`,
  rule: 'no-restricted-imports',
})

const refused: Case[] = [
  ...imports.flatMap(({ specifier, refused: places }, index) =>
    places.map((place) => importCase(place, specifier, index)),
  ),
  ...deeds.flatMap(({ refused: files, ...deed }) => files.map((file) => ({ file, ...deed }))),
]
const allowed: Case[] = [
  ...imports.flatMap(({ specifier, allowed: place }, index) =>
    place === undefined ? [] : [importCase(place, specifier, index)],
  ),
  ...deeds.flatMap(({ allowed: file, ...deed }) => (file === undefined ? [] : [{ file, ...deed }])),
]

/** The names of the rules that each file breaks, from one run of the linter over all of them. */
let broken: Map<string, string[]>

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-walls-'))
  for (const file of ['oxlint.config.ts', 'tsconfig.json', 'test/lint'])
    cpSync(join(root, file), join(folder, file), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const cases = [...refused, ...allowed]
  for (const { file, code } of cases) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), `${code}\n`)
  }
  const problems = Map.groupBy(lint(cases.map(({ file }) => file)), ({ filename }) => filename)
  // `eslint(no-restricted-imports)`
  const nameOf = ({ code }: { code: string }) => code.replace(/^.*\(|\)$/g, '')
  broken = new Map([...problems].map(([file, all]) => [file, all.map(nameOf)]))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function lint(files: readonly string[]): { filename: string; code: string }[] {
  const args = [
    join(root, 'node_modules/oxlint/bin/oxlint'),
    '-c',
    'oxlint.config.ts',
    '--format=json',
    ...files,
  ]
  const { stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', maxBuffer: 1e8 })
  return (JSON.parse(stdout) as { diagnostics: { filename: string; code: string }[] }).diagnostics
}

describe('the linter refuses', () => {
  test.each(refused)('in $file: $code', ({ file, rule }) => {
    expect(broken.get(file)).toContain(rule)
  })
})

describe('the linter allows', () => {
  test.each(allowed)('in $file: $code', ({ file, rule }) => {
    expect(broken.get(file) ?? []).not.toContain(rule)
  })
})
