import { expect, test } from 'vitest'
import { describeEnd } from './container-end.ts'
import { splitRepository } from './image-supply.ts'
import { appEnvironment } from './app-container.ts'
import { buildTemplate } from '@berth/db/testing'

const end = { exitCode: 2, oomKilled: false, error: '' }

test('an end is told with its exit code and the last lines', () => {
  expect(describeEnd(end, 1, [])).toEqual({ reason: 'AppCrashed', message: 'the app ended with exit code 2' })
  expect(describeEnd(end, 1, ['a', 'b']).message).toBe(
    'the app ended with exit code 2; its last lines were:\na\nb',
  )
})

test.each([
  [137, 'exit code 137 (SIGKILL)'],
  [139, 'exit code 139 (SIGSEGV)'],
  [143, 'exit code 143 (SIGTERM)'],
  [127, 'exit code 127 (command not found)'],
  [126, 'exit code 126 (not executable)'],
  [128, 'exit code 128'],
  [255, 'exit code 255'],
])('exit code %i is named', (exitCode, named) => {
  expect(describeEnd({ ...end, exitCode }, 1, []).message).toBe(`the app ended with ${named}`)
})

test('running out of memory is a reason of its own and names the limit', () => {
  const failure = describeEnd({ ...end, exitCode: 137, oomKilled: true }, 128 * 1024 ** 2, [])
  expect(failure).toEqual({
    reason: 'OutOfMemory',
    message: 'the app used more memory than its limit of 128Mi',
  })
})

test('a message stays short whatever the app prints', () => {
  expect(describeEnd(end, 1, ['x'.repeat(100_000)]).message.length).toBeLessThanOrEqual(4_000)
})

test('the registry is what stands before the first slash', () => {
  expect(splitRepository('127.0.0.1:5050/acme/app')).toEqual({
    registry: '127.0.0.1:5050',
    repository: 'acme/app',
  })
})

test('variables of the container contract win over those of the user', () => {
  const about = { service: 'hello', revision: 'hello-00001', template: buildTemplate() }
  expect(appEnvironment({ ...about, env: { PORT: '1', OTHER: 'x' } })).toEqual({
    PORT: '8080',
    OTHER: 'x',
    K_SERVICE: 'hello',
    K_REVISION: 'hello-00001',
    K_CONFIGURATION: 'hello',
  })
})
