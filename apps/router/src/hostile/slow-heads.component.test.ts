import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { readMessages } from '../testing/messages.ts'
import { host } from './client-bytes.ts'
import { startWatchedEdge } from './watched-edge.ts'

/** Writes `head` and then a byte every second, until the router has enough. */
function drip(port: number, head: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    let received = ''
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      received += text
    })
    socket.on('error', () => undefined)
    const dripping = head === '' ? undefined : setInterval(() => socket.write('a'), 1000)
    socket.once('close', () => {
      clearInterval(dripping)
      resolve(received)
    })
    if (head !== '') socket.write(head)
  })
}

test('a head that does not come whole in 10 s is 408, and none of it reaches the app; a silent connection just ends (case 69)', async () => {
  const watched = await startWatchedEdge()
  const [line, fields, silent] = await Promise.all([
    drip(watched.edge.port, 'GET /'),
    drip(watched.edge.port, `GET / HTTP/1.1\r\n${host}A: `),
    drip(watched.edge.port, ''),
  ])
  for (const received of [line, fields]) {
    expect(received).toMatch(/^HTTP\/1.1 408 [^]*\r\nconnection: close\r\n[^]*"code":"request-incomplete"/i)
    expect(readMessages(received).messages).toHaveLength(1)
  }
  expect(silent).toBe('')
  expect(watched.origin.connections).toEqual([])
  await watched.close()
})
