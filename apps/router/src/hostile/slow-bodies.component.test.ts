import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { eventually, startApp, startEdge } from '../testing/edge.ts'
import { aReplica, aRevision } from '../testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

test('a body that drips is 408 once it has been judged, and one at the least rate goes on (case 69)', async () => {
  const app = await startApp((request, response) => {
    request.on('error', () => undefined).resume()
    request.on('end', () => response.end('whole'))
  })
  atEnd(() => app.close())
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)] })]
  const edge = await startEdge({ revisions }, { BERTH_ROUTER_MIN_BODY_RATE: '100' })
  atEnd(() => edge.close())
  const upload = (bytesPerLook: number) => {
    const socket = connect(edge.port, '127.0.0.1')
    atEnd(() => void socket.destroy())
    let received = ''
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1'))).on('error', () => undefined)
    socket.write('POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 100000\r\n\r\n')
    const dripping = setInterval(() => socket.write(Buffer.alloc(bytesPerLook)), 250)
    atEnd(() => clearInterval(dripping))
    return { socket, received: () => received }
  }
  const slow = upload(1)
  const steady = upload(200)
  await once(slow.socket, 'close')
  expect(slow.received()).toMatch(
    /^HTTP\/1\.1 408 [^]*"request-incomplete"[^]*slower than 100 bytes per second/,
  )
  expect(steady.socket.destroyed).toBe(false)
  expect(steady.received()).toBe('')
})

test('a client that takes nothing of its answer is cut off, and its slot is free again (case 69)', async () => {
  const app = await startApp((_request, response) => {
    response.on('error', () => undefined)
    response.end(Buffer.alloc(64 * 1024 * 1024))
  })
  atEnd(() => app.close())
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)] })]
  const edge = await startEdge({ revisions }, { BERTH_ROUTER_STALL_SECONDS: '2' })
  atEnd(() => edge.close())
  const socket = connect(edge.port, '127.0.0.1').pause()
  socket.on('error', () => undefined)
  atEnd(() => void socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n')
  const inFlight = () => edge.leader.last('report')?.revisions[0]?.inFlight
  await eventually(() => inFlight() === 1)
  await eventually(() => inFlight() === 0)
})

test('a body is judged from its own begin on, however old its connection and the router are (case 69)', async () => {
  const app = await startApp((request, response) => {
    request.resume().on('end', () => response.end('whole'))
  })
  atEnd(() => app.close())
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)] })]
  const edge = await startEdge({ revisions })
  atEnd(() => edge.close())
  // Longer than a body is looked at, since the begin of time.
  await eventually(() => performance.now() > 11_000)
  const socket = connect(edge.port, '127.0.0.1')
  atEnd(() => void socket.destroy())
  let received = ''
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1'))).on('error', () => undefined)
  socket.write('POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 10\r\n\r\n')
  const dripping = setInterval(() => socket.write('a'), 250)
  atEnd(() => clearInterval(dripping))
  await eventually(() => received !== '')
  expect(received).toMatch(/^HTTP\/1\.1 200 [^]*whole$/)
})
