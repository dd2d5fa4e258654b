import { duplexPair, type Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { joinTunnel, type Tunnel } from './tunnel.ts'
import { UpgradeOffer } from './upgrade-offer.ts'

let client: Duplex
let replica: Duplex
let tunnel: Tunnel
let closed = 0
const seen = { client: '', replica: '' }

beforeEach(async () => {
  vi.useFakeTimers()
  const [clientSide, edgeOfClient] = duplexPair()
  const [replicaSide, edgeOfReplica] = duplexPair({ allowHalfOpen: false })
  // What a tunnel uses of a socket beyond a stream.
  const socket = Object.assign(edgeOfClient, {
    setTimeout: () => undefined,
    destroySoon: () => edgeOfClient.end(),
  })
  client = clientSide
  replica = replicaSide
  closed = 0
  Object.assign(seen, { client: '', replica: '' })
  client.on('data', (chunk: Buffer) => (seen.client += chunk.toString('hex')))
  replica.on('data', (chunk: Buffer) => (seen.replica += chunk.toString('hex')))
  const offer = new UpgradeOffer(socket as unknown as Socket, Buffer.alloc(0))
  tunnel = joinTunnel(offer, [], edgeOfReplica, 0, () => (closed += 1))
  await settled()
  expect(Buffer.from(seen.client, 'hex').toString()).toMatch(/^HTTP\/1\.1 101 /)
  seen.client = ''
})
afterEach(() => void vi.useRealTimers())

const settled = () => vi.advanceTimersByTimeAsync(1)
const maskedClose = /^8882[0-9a-f]{12}$/

test('a tunnel that goes away says so to both ends once, behind the frame that is under way', async () => {
  replica.write(Buffer.from('8204aabb', 'hex'))
  client.write(Buffer.from('818101020304bb', 'hex'))
  await settled()
  expect(seen.replica).toBe('818101020304bb')
  seen.replica = ''
  tunnel.goAway()
  tunnel.goAway()
  await settled()
  expect(seen.client).toBe('8204aabb')
  expect(seen.replica).toMatch(maskedClose)
  replica.write(Buffer.from('ccdd8201ee', 'hex'))
  client.write(Buffer.from('818101020304aa', 'hex'))
  await settled()
  expect(seen.client).toBe('8204aabbccdd880203e9')
  expect(seen.replica).toMatch(maskedClose)
})

test('ends that do not close are cut off after a minute', async () => {
  tunnel.goAway()
  await vi.advanceTimersByTimeAsync(59_000)
  expect(closed).toBe(0)
  await vi.advanceTimersByTimeAsync(2000)
  expect(closed).toBe(1)
})

test('a replica that closes when it is asked to ends the tunnel, and nothing is left to wait for', async () => {
  tunnel.goAway()
  await settled()
  replica.end()
  await settled()
  expect(closed).toBe(1)
  expect(vi.getTimerCount()).toBe(0)
})

test('a frame larger than both ends take at once arrives whole', async () => {
  const frame = Buffer.concat([Buffer.from('827f0000000000080000', 'hex'), Buffer.alloc(512 * 1024, 7)])
  client.pause()
  for (let at = 0; at < frame.length; at += 16_384) replica.write(frame.subarray(at, at + 16_384))
  await settled()
  tunnel.goAway()
  await settled()
  client.resume()
  await settled()
  expect(seen.client === `${frame.toString('hex')}880203e9`).toBe(true)
})
