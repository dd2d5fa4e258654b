import { connect } from 'node:net'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { until } from '../../../../test/support/poll.ts'
import { sendRaw } from '../testing/send-raw.ts'
import { startApi, type StartedApi } from '../testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

const host = 'Host: localhost\r\n'
const close = 'Connection: close\r\n'
let post = ''
beforeAll(() => {
  post = `POST /services HTTP/1.1\r\n${host}Authorization: Bearer ${api.token}\r\nContent-Type: application/json\r\n`
})
const get = (target: string, headers = host) => `GET ${target} HTTP/1.1\r\n${headers}${close}\r\n`

const refused: [string, string, number, string][] = [
  ['a header without a name', get('/services', `${host}: a\r\n`), 400, 'malformed-request'],
  ['a NUL in a header', get('/services', `${host}A: b\0c\r\n`), 400, 'malformed-request'],
  ['no HTTP at all', 'hello\r\n\r\n', 400, 'malformed-request'],
  ['a header of 17 KiB', get('/services', `${host}A: ${'a'.repeat(17_408)}\r\n`), 431, 'headers-too-large'],
  ['a target of 17 KiB', get(`/${'a'.repeat(17_408)}`), 431, 'headers-too-large'],
  ['no Host', get('/services', ''), 400, 'malformed-request'],
  ['a Host with a space', get('/services', 'Host: a b\r\n'), 400, 'malformed-request'],
  ['a Host with a user', get('/services', 'Host: a@localhost\r\n'), 400, 'malformed-request'],
  ['a backslash in the path', get('/services\\x'), 400, 'malformed-request'],
  ['a target that is no path', get('services'), 400, 'malformed-request'],
  ['CONNECT', `CONNECT localhost:80 HTTP/1.1\r\n${host}\r\n`, 405, 'method-not-allowed'],
  ['another expectation', get('/services', `${host}Expect: tea\r\n`), 417, 'expectation-failed'],
]

test.each(refused)('%s is answered with a problem', async (_what, bytes, status, code) => {
  const answer = await sendRaw(api.port, Buffer.from(bytes, 'latin1'))
  const [head = '', body = ''] = answer.split('\r\n\r\n')
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(head).toMatch(/^content-type: application\/problem\+json\r?$/im)
  expect(head).toMatch(/^connection: close\r?$/im)
  expect(JSON.parse(body)).toMatchObject({
    status,
    code,
    requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
  })
})

const errors = () => api.log.filter((line) => line.includes('"failed"'))

test.each([
  ['is badly framed', 'Transfer-Encoding: chunked\r\n\r\nnonsense\r\n'],
  ['ends before its chunk does', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello7\r\n'],
])('a body that %s is answered with a problem', async (_how, rest) => {
  const answer = await sendRaw(api.port, `${post}${rest}`)
  expect(answer).toMatch(/^HTTP\/1\.1 400 /)
  expect(answer).toContain('"code":"malformed-request"')
  expect(errors()).toEqual([])
})

test('a client that leaves in the middle of its body is no error of ours', async () => {
  const toPools = post.replace('/services', '/pools')
  const socket = connect(api.port, '127.0.0.1', () =>
    socket.write(`${toPools}Content-Length: 100\r\n\r\n{"name":`, () => socket.destroy()),
  )
  const line = await until(() => api.log.find((text) => text.includes('"/pools"')), {
    describe: 'the request to be logged',
  })
  expect(line).toContain('"status":400')
  expect(errors()).toEqual([])
})
