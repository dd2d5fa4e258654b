import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const script = join(import.meta.dirname, '../install-dependencies')
let folder: string
let project: string

/** A project with a lock file, and an `npm` that writes down its calls and puts a `node` in its place. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-deps-'))
  project = join(folder, 'project')
  await mkdir(join(folder, 'bin'))
  await mkdir(project)
  await writeFile(join(project, 'package-lock.json'), '{"lock": 1}')
  await fakeNpm('mkdir -p node_modules/.bin; : >node_modules/.bin/node; chmod 755 node_modules/.bin/node')
})

afterEach(() => rm(folder, { recursive: true, force: true }))

async function fakeNpm(body: string): Promise<void> {
  const npm = join(folder, 'bin', 'npm')
  await writeFile(npm, `#!/bin/sh\necho "$*" >>"${folder}/calls"\n${body}\n`)
  await chmod(npm, 0o755)
}

async function install(): Promise<{ code: number | null; errors: string }> {
  const child = spawn('/bin/sh', [script, project], {
    env: { ...process.env, PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, errors }
}

const calls = async () => (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n').length

test('installs once per lock file', async () => {
  expect((await install()).code).toBe(0)
  expect((await install()).code).toBe(0)
  expect(await calls()).toBe(1)
  await writeFile(join(project, 'package-lock.json'), '{"lock": 2}')
  expect((await install()).code).toBe(0)
  expect(await calls()).toBe(2)
})

test('two at once install once', async () => {
  const both = await Promise.all([install(), install()])
  expect(both.map(({ code }) => code)).toEqual([0, 0])
  expect(await calls()).toBe(1)
})

test('an install that was cut is repeated', async () => {
  await install()
  await rm(join(project, 'node_modules/.bin/node'))
  expect((await install()).code).toBe(0)
  expect(await calls()).toBe(2)
})

test('a failed install says so and leaves no mark', async () => {
  await fakeNpm('echo "network is down" >&2; exit 1')
  const failed = await install()
  expect(failed.code).toBe(1)
  expect(failed.errors).toContain('network is down')
  expect(failed.errors).toContain('berth: npm ci failed; the lines above say why.')
  expect(await calls()).toBe(2)
})
