import { expect, test } from 'vitest'
import { appBody } from '../container-spec.ts'
import { isEngineError } from '../engine-error.ts'
import { heldBody, programPaths } from './held-start.ts'

const spec = {
  name: 'a',
  sandboxId: 'f00',
  image: 'sha256:1',
  command: [] as string[],
  args: [] as string[],
  env: {},
  memoryBytes: 64 * 1024 ** 2,
  cpuMillis: 500,
  labels: {},
}
const image = {
  architecture: 'amd64',
  entrypoint: ['/entry.sh', '--x'],
  command: ['node', ''],
  env: ['PATH=/usr/bin:/bin'],
  volumes: [] as string[],
}

/** What a held container would become. */
function held(change: Partial<typeof spec> = {}, about: Partial<typeof image> = {}): string[] | undefined {
  const asked = { ...spec, ...change }
  return heldBody(appBody(asked, '1000', 2), asked, { ...image, ...about }).Cmd
}

test('only what it starts is another than in a plain container', () => {
  const plain = appBody(spec, '1000', 2)
  const { Entrypoint, Cmd, ...rest } = heldBody(plain, spec, image)
  expect(rest).toEqual(plain)
  expect(Entrypoint).toEqual(['/.berth-hold'])
  expect(Cmd).toEqual(['/entry.sh', '', '/entry.sh', '--x', 'node', ''])
})

test('entrypoint and command come together as the engine puts them', () => {
  const app = (...words: string[]) => [words[0], '', ...words]
  expect(held({ args: ['/a', 'b'] })).toEqual(app('/entry.sh', '--x', '/a', 'b'))
  expect(held({ command: ['/c'] })).toEqual(app('/c'))
  expect(held({ command: ['/c'], args: ['d'] })).toEqual(app('/c', 'd'))
  expect(held({}, { entrypoint: [], command: ['./app'] })).toEqual(app('./app'))
})

test('a name is looked for in the PATH of the app, of its image, or in that of the engine', () => {
  const named = { command: ['app'] }
  const paths = (cmd?: string[]) => cmd?.slice(0, cmd.indexOf(''))
  expect(paths(held({ ...named, env: { PATH: '/own' } }))).toEqual(['/own/app'])
  expect(paths(held(named))).toEqual(['/usr/bin/app', '/bin/app'])
  expect(paths(held(named, { env: ['PATHS=/x'] }))).toHaveLength(6)
})

test('paths are those that execvp tries', () => {
  expect(programPaths('bin/app', '/a:/b')).toEqual(['bin/app'])
  expect(programPaths('app', '/a::/b/')).toEqual(['/a/app', 'app', '/b//app'])
  expect(programPaths('app', '')).toEqual(['app'])
})

test.each([
  ['another processor', {}, { architecture: 'arm64' }],
  ['no command', {}, { entrypoint: [], command: [] }],
  ['volumes of the image', {}, { volumes: ['/data'] }],
  ['volumes of the service', { volumes: [{ name: 'v', mountPath: '/data' }] }, {}],
])('an app with %s is not held', (_what, change, about) => {
  const attempt = () => held(change as Partial<typeof spec>, about)
  expect(attempt).toThrow(expect.toSatisfy((error: unknown) => isEngineError(error, 'InvalidSpec')))
})
