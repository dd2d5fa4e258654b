import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
let folder: string

/** Every wall, a file that breaks it and a file that stands at the place which may. */
const walls = [
  { specifier: 'dockerode', refused: 'apps/worker/src/a.ts', allowed: 'packages/engine/src/a.ts' },
  { specifier: 'bullmq', refused: 'apps/api/src/routes/a.ts', allowed: 'apps/api/src/queue/a.ts' },
  { specifier: 'drizzle-orm', refused: 'apps/api/src/routes/b.ts', allowed: 'packages/db/src/a.ts' },
  { specifier: 'pg', refused: 'apps/worker/src/b.ts', allowed: 'packages/db/src/b.ts' },
  { specifier: 'ioredis', refused: 'apps/router/src/b.ts', allowed: 'apps/router/src/redis/b.ts' },
  { specifier: 'undici', refused: 'apps/router/src/c.ts', allowed: 'apps/router/src/upstream/c.ts' },
  { specifier: 'node:child_process', refused: 'apps/worker/src/d.ts', allowed: 'infra/src/d.ts' },
  { specifier: '../../router/src/main.ts', refused: 'apps/api/src/e.ts', allowed: undefined },
  { specifier: '../../../apps/router/src/main.ts', refused: 'packages/db/src/f.ts', allowed: undefined },
  { specifier: '@berth/contracts', refused: 'packages/scheduler/src/a.ts', allowed: 'packages/db/src/c.ts' },
  { specifier: 'node:fs', refused: 'packages/scheduler/src/b.ts', allowed: 'packages/db/src/d.ts' },
]

function write(path: string, specifier: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), `import * as outside from '${specifier}'\nexport const kept = outside\n`)
}

function lint(path: string): string {
  try {
    const args = [join(root, 'node_modules/oxlint/bin/oxlint'), '-c', 'oxlint.config.ts', path]
    return execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  } catch (error) {
    return String((error as { stdout?: string }).stdout)
  }
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-walls-'))
  copyFileSync(join(root, 'oxlint.config.ts'), join(folder, 'oxlint.config.ts'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const wall of walls) {
    write(wall.refused, wall.specifier)
    if (wall.allowed) write(wall.allowed, wall.specifier)
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the linter holds the walls between packages', () => {
  test.each(walls)('$refused may not import $specifier', ({ refused }) => {
    expect(lint(refused)).toContain('no-restricted-imports')
  })

  test.each(walls.filter((wall) => wall.allowed))('$allowed may import $specifier', ({ allowed }) => {
    expect(lint(String(allowed))).not.toContain('no-restricted-imports')
  })
})
