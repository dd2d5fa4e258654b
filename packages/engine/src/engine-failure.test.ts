import { describe, expect, test } from 'vitest'
import { startDeadline } from './deadline.ts'
import { connectionFailure, statusFailure } from './engine-failure.ts'

const call = { what: 'create container "x"', mutates: true }
const json = (message: string) => JSON.stringify({ message })

describe('an answer that refuses', () => {
  test.each([
    [404, 'No such container: x', 'NotFound'],
    [404, 'No such image: x', 'ImageNotFound'],
    [409, 'cannot join network of a non running container: x', 'SandboxDead'],
    [409, 'Container x is not running', 'Conflict'],
    [403, 'network x has active endpoints', 'Conflict'],
    [400, 'Minimum memory limit allowed is 6MB', 'InvalidSpec'],
    [500, 'Bind for 127.0.0.1:20000 failed: port is already allocated', 'PortTaken'],
    [500, 'listen tcp4 127.0.0.1:20000: bind: address already in use', 'PortTaken'],
    [500, 'mkdir x: no space left on device', 'NoSpace'],
    [500, 'OCI runtime create failed', 'EngineFailure'],
  ])('%d %s is %s', (status, message, code) => {
    const failure = statusFailure(call, status, json(message), [])
    expect(failure).toMatchObject({ code, outcome: 'refused' })
  })

  test('in plain text is understood too', () => {
    expect(statusFailure(call, 500, 'page broken\n', []).message).toBe('create container "x": page broken')
  })

  test('repeats no value of a variable', () => {
    const text = json('invalid environment: TOKEN=s3cr, and s3cret-value in the middle')
    const failure = statusFailure(call, 400, text, ['s3cret-value'])
    expect(failure.message).toBe('create container "x": invalid environment: TOKEN=*** and *** in the middle')
  })
})

describe('a broken connection', () => {
  const refused = Object.assign(new Error('no'), { code: 'ECONNREFUSED', syscall: 'connect' })
  const reset = Object.assign(new Error('no'), { code: 'ECONNRESET', syscall: 'read' })

  test.each([
    ['that was never made changed nothing', refused, true, 'refused'],
    [
      'for a certificate changed nothing',
      Object.assign(new Error('no'), { code: 'SELF_SIGNED_CERT_IN_CHAIN' }),
      true,
      'refused',
    ],
    ['leaves a mutation unknown', reset, true, 'unknown'],
    ['of a question changed nothing', reset, false, 'refused'],
  ] as const)('%s', (_, error, mutates, outcome) => {
    using deadline = startDeadline(60_000)
    const failure = connectionFailure({ what: 'x', mutates }, error, deadline)
    expect(failure).toMatchObject({ code: 'EngineUnreachable', outcome, retryable: true })
  })

  test('that the caller ended is no fault of the engine', () => {
    using deadline = startDeadline(60_000, AbortSignal.abort())
    expect(connectionFailure(call, reset, deadline)).toMatchObject({ code: 'Aborted', outcome: 'unknown' })
  })
})
