import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { clientOf, ConnectionPlaces } from './connection-places.ts'
import { standardLimits } from './limits.ts'

test.each([
  ['10.1.2.3', '10.1.2.3'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::6', '2001:db8:1:2'],
  ['2001:db8::5:6', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::', 'fe80:0:0:0'],
])('connections from %s count for %s', (address, client) => {
  expect(clientOf(address)).toBe(client)
})

function aSocket(remoteAddress: string) {
  const socket = Object.assign(new EventEmitter(), {
    remoteAddress,
    isReset: false,
    resetAndDestroy() {
      socket.isReset = true
    },
  })
  return socket
}

test('a client has at most its number of connections, a trusted proxy more, and nobody above all', () => {
  const places = new ConnectionPlaces({ ...standardLimits, maxConnectionsPerClient: 2, maxConnections: 5 })
  const admit = (address: string, trusted = false) => {
    const socket = aSocket(address)
    return { socket, isIn: places.admit(socket as unknown as Socket, { trusted }) }
  }
  const first = admit('10.0.0.1')
  expect([first, admit('10.0.0.1'), admit('10.0.0.1')].map(({ isIn }) => isIn)).toEqual([true, true, false])
  expect(
    [admit('10.0.0.2', true), admit('10.0.0.2', true), admit('10.0.0.2', true)].every(({ isIn }) => isIn),
  ).toBe(true)
  const refused = admit('10.0.0.3')
  expect(refused).toMatchObject({ isIn: false, socket: { isReset: true } })
  first.socket.emit('close')
  expect([admit('10.0.0.1').isIn, admit('10.0.0.1').isIn]).toEqual([true, false])
  expect(places.refused).toBe(3)
})
