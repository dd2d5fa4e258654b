import { expect, test } from 'vitest'
import { describeEnd, redact } from './container-end.ts'
import { splitRepository } from './image-supply.ts'
import { appEnvironment } from './start-replica.ts'
import { buildTemplate } from '@berth/db/testing'

const end = { exitCode: 2, oomKilled: false, error: '' }

test('an end is told with its exit code and the last lines', () => {
  expect(describeEnd(end, 1, [])).toEqual({ reason: 'AppCrashed', message: 'the app ended with exit code 2' })
  expect(describeEnd(end, 1, ['a', 'b']).message).toBe(
    'the app ended with exit code 2; its last lines were:\na\nb',
  )
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

test('values of variables are replaced, the longest first', () => {
  const env = { A: 'password', B: 'password-and-more' }
  expect(redact('xpasswordx: password-and-more, password', env)).toBe('x***x: ***, ***')
})

test('short values are replaced where they stand as a word, and the shortest are left', () => {
  const env = { PIN: '4711', ON: 'yes', ODD: 'a.b$' }
  expect(redact('yes: pin=4711, 47110, 04711, a.b$ and axb$', env)).toBe(
    'yes: pin=***, 47110, 04711, *** and axb$',
  )
})

test('a value of several lines is found in each of them', () => {
  const env = { KEY: '-----BEGIN KEY-----\nMIIEvQIBADANBg\r\n-----END KEY-----\n' }
  expect(redact('key: MIIEvQIBADANBg', env)).toBe('key: ***')
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
