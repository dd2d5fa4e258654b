import { nodeSpec, poolSpec, serviceSpec, tokenSpec } from '@berth/contracts'
import { expect, test } from 'vitest'
import type { z } from 'zod'
import { ApiError } from '../api-error.ts'
import { parseBody } from './parse-with.ts'

function refusalOf(schema: z.ZodType, value: unknown): string {
  try {
    parseBody(schema, value)
    return 'accepted'
  } catch (error) {
    return error instanceof ApiError ? error.message : String(error)
  }
}

const cpu = 'cpu: must be 0.05 to 64 cores, as a number or in thousandths such as "500m".'
const memory = 'memory: must be 16Mi to 512Gi with one of the units Ki, Mi, Gi, k, M, G, such as "512Mi".'

test.each([
  [{ cpu: null }, cpu],
  [{ cpu: {} }, cpu],
  [{ memory: 512 }, memory],
  [{ env: { A: 1 } }, 'env.A: the value must be text.'],
  [{ env: { A: { secret: 1 } } }, 'env.A: the value must be text.'],
  [{ env: [] }, 'env: expected object, received array.'],
  [{ port: '80' }, 'port: expected number, received string.'],
  [{ port: 80.5 }, 'port: expected a whole number, received number.'],
  [{ port: 0 }, 'port: expected number to be >=1.'],
  [{ name: undefined }, 'name: is required.'],
  [{ rollout: { strategy: 'canary' } }, 'rollout.strategy: expected one of "immediate"|"gradual"|"manual".'],
  [{ gpu: 1, size: 2 }, 'gpu: is reserved for a later version. (and 1 more)'],
])('a service with %j is told: %s', (change, sentence) => {
  expect(refusalOf(serviceSpec, { name: 'hello', image: 'hello', ...change })).toBe(sentence)
})

test('a choice names what there is to choose', () => {
  const pool = refusalOf(poolSpec, { name: 'fast', strategy: 'random' })
  expect(pool).toBe('strategy: expected one of "spread"|"binpack".')
  const node = refusalOf(nodeSpec, { name: 'n2', endpoint: 'unix:///x', scheduling: 'off' })
  expect(node).toBe('scheduling: expected one of "active"|"cordoned"|"draining".')
  const token = refusalOf(tokenSpec, { name: 'ci', expiresAt: 'tomorrow' })
  expect(token).toBe('expiresAt: must be an RFC 3339 time such as "2030-01-31T12:00:00Z", or null.')
})
