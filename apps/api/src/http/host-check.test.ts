import { expect, test } from 'vitest'
import { isOwnHost } from './host-check.ts'

test.each(['localhost', 'LOCALHOST:8081', '127.0.0.1:8081', '127.0.0.2', '[::1]', '[::1]:8081'])(
  '%s is this API',
  (host) => expect(isOwnHost(host)).toBe(true),
)

test.each([
  undefined,
  '',
  'evil.example',
  'localhost.evil.example',
  '10.0.0.1',
  '[::2]',
  'localhost:x',
  'a b',
])('%s is somebody else', (host) => expect(isOwnHost(host)).toBe(false))
