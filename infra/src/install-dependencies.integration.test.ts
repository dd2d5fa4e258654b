import { spawn } from 'node:child_process'
import { access, chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
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

type Installed = { code: number | null; errors: string }

/** `path` is where programs are looked for after the ones of the test; that of this process by default. */
async function install(path = process.env['PATH'] ?? ''): Promise<Installed> {
  const child = spawn('/bin/sh', [script, project], {
    env: { ...process.env, PATH: `${join(folder, 'bin')}:${path}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, errors }
}

/** A folder with nothing but the programs that the script itself calls. */
async function bareTools(): Promise<string> {
  const tools = join(folder, 'tools')
  await mkdir(tools)
  for (const name of ['sha256sum', 'cut', 'cat', 'id', 'flock', 'rm', 'uname', 'mkdir', 'chmod', 'sh'])
    await symlink(await findProgram(name), join(tools, name))
  return tools
}

async function findProgram(name: string): Promise<string> {
  for (const place of ['/usr/bin', '/bin'])
    if (
      await access(join(place, name)).then(
        () => true,
        () => false,
      )
    )
      return join(place, name)
  throw new Error(`this machine has no ${name}`)
}

async function fakeNode(version: string): Promise<void> {
  const node = join(folder, 'bin', 'node')
  await writeFile(
    node,
    `#!/bin/sh\ncase $1 in -p) echo ${version.split('.')[0]} ;; *) echo v${version} ;; esac\n`,
  )
  await chmod(node, 0o755)
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

test('says what is missing on the machine, one thing at a time', async () => {
  const tools = await bareTools()
  const said = async () => (await install(tools)).errors
  expect(await said()).toBe(
    'berth: Node 20 or newer and npm are needed; install them first (https://nodejs.org).\n',
  )
  await fakeNode('18.19.0')
  expect(await said()).toBe('berth: Node 20 or newer is needed to install, this machine has v18.19.0.\n')
  await fakeNode('20.20.2')
  expect(await said()).toBe('Installing npm dependencies ...\n')
  await rm(join(folder, 'bin', 'npm'))
  await rm(join(project, 'node_modules'), { recursive: true })
  expect(await said()).toBe('berth: npm is needed beside Node; install it first.\n')
})

test('names the processor that has no pinned Node', async () => {
  await fakeNpm(':')
  const { code, errors } = await install()
  expect(code).toBe(1)
  expect(errors).toMatch(/berth: There is no pinned Node for Linux \S+; Linux on x64 or arm64 is needed\.\n$/)
})

test('leaves a folder of somebody else alone', async () => {
  await chmod(folder, 0o755)
  const child = spawn(
    '/usr/bin/setpriv',
    ['--reuid=nobody', '--regid=nogroup', '--clear-groups', '/bin/sh', script, project],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  await new Promise((resolve) => child.once('close', resolve))
  expect(errors).toMatch(/^berth: \S+\/project cannot be written by \S+; run \.\/berth as its owner\.\n$/)
})
