import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LeaderFrame, RouterFrame, RouteSnapshot, RouteVersion } from '@berth/contracts'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readFrames, writeFrame } from './frame-lines.ts'
import { openRouterHub, type RouterHub, type RouterRelay } from './router-hub.ts'

const version = (sequence: number) => ({ epoch: 3, sequence })
const snapshot: RouteSnapshot = {
  kind: 'snapshot',
  installation: 't',
  version: version(1),
  hosts: [],
  revisions: [],
}
const host = { host: 'h.localhost', project: 'default', service: 'h', serviceUid: 'svc-1', targets: [] }
const ahead: RouteVersion[] = []
const leading = { epoch: 3, snapshot: () => snapshot, onAhead: (served: RouteVersion) => ahead.push(served) }

let folder: string
let path: string
let hub: RouterHub
/** How far the hub's clock is ahead of the real one. */
let aheadMs = 0
const open: Socket[] = []
const relayed: LeaderFrame[] = []
let deliver: (payload: unknown) => void = () => undefined

const relay: RouterRelay = {
  publish: (frame) => relayed.push(frame),
  onFrame(listener) {
    deliver = listener
    return () => undefined
  },
}

function dial(id: string, incarnation = '1') {
  const frames: LeaderFrame[] = []
  const socket = connect(path)
  open.push(socket)
  socket.on('error', () => undefined)
  readFrames(socket, (frame) => frames.push(frame as LeaderFrame))
  const say = (frame: RouterFrame) => writeFrame(socket, frame)
  say({ kind: 'hello', router: id, incarnation, adminPort: 9 })
  return { frames, say, socket }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hub-'))
  path = join(folder, 'hub.sock')
  aheadMs = 0
  const now = () => performance.now() + aheadMs
  hub = await openRouterHub({ socketPath: path, relay, log: pino({ level: 'silent' }), now })
})

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy()
  relayed.length = 0
  ahead.length = 0
  await hub.close()
  await rm(folder, { recursive: true, force: true })
})

describe('the hub of the leader', () => {
  test('gives a router the whole table, then every change', async () => {
    hub.lead(leading)
    const router = dial('a')
    await expect.poll(() => router.frames.some((frame) => frame.kind === 'snapshot')).toBe(true)
    hub.audience.broadcast({ ...snapshot, version: version(2) })
    await expect.poll(() => router.frames.filter((frame) => frame.kind === 'snapshot')).toHaveLength(2)
  })

  test('sends a router away while somebody else leads', async () => {
    const router = dial('a')
    await expect.poll(() => router.frames.map((frame) => frame.kind)).toEqual(['not-leader'])
    await expect.poll(() => router.socket.readableEnded).toBe(true)
  })

  test('waits for the acknowledgement of a router that is connected', async () => {
    hub.lead(leading)
    aheadMs += 2000
    const router = dial('a')
    await expect.poll(() => hub.membership.known()).toHaveLength(1)
    expect(await hub.audience.acknowledged(version(1), [], 30)).toBe(false)
    const done = hub.audience.acknowledged(version(1), [], 20_000)
    router.say({ kind: 'acknowledge', version: version(1), lingering: [] })
    expect(await done).toBe(true)
  })

  test('excuses a router that is connected and silent, and closes its connection', async () => {
    hub.lead(leading)
    const router = dial('a')
    await expect.poll(() => hub.membership.known()).toHaveLength(1)
    for (let second = 0; second < 11; second += 1) {
      aheadMs += 1000
      hub.membership.tick()
    }
    expect(hub.membership.known()).toEqual([])
    await expect.poll(() => router.socket.readableEnded || router.socket.destroyed).toBe(true)
  })

  test('lets a router go that does not read what it is sent', async () => {
    hub.lead(leading)
    const router = dial('a')
    await expect.poll(() => hub.membership.known()).toHaveLength(1)
    router.socket.pause()
    const megabyte = 'x'.repeat(1024 ** 2)
    const frame = { ...snapshot, hosts: [{ ...host, host: megabyte }] }
    for (let sent = 0; sent < 20; sent += 1) hub.audience.broadcast(frame)
    // Long before its silence would be told.
    await expect.poll(() => hub.membership.known(), { timeout: 6000 }).toEqual([])
  })

  test('excuses a router that is gone with its admin port', async () => {
    hub.lead(leading)
    const router = dial('a')
    await expect.poll(() => hub.membership.known()).toHaveLength(1)
    router.socket.destroy()
    await expect.poll(() => hub.membership.known(), { timeout: 20_000 }).toEqual([])
  })

  test('ends a connection that speaks nonsense and goes on with the others', async () => {
    hub.lead(leading)
    const bad = dial('bad')
    const good = dial('good')
    bad.socket.write('{"kind":\n')
    await expect.poll(() => bad.socket.destroyed || bad.socket.readableEnded).toBe(true)
    good.say({ kind: 'resync' })
    await expect
      .poll(() => good.frames.filter((frame) => frame.kind === 'snapshot').length)
      .toBeGreaterThan(1)
  })

  test('passes over what only a newer router says, with its frames and their fields', async () => {
    hub.lead(leading)
    const newer = dial('newer')
    await expect.poll(() => newer.frames.filter((frame) => frame.kind === 'snapshot')).toHaveLength(1)
    writeFrame(newer.socket, { kind: 'weather', sunny: true })
    writeFrame(newer.socket, { kind: 'resync', urgency: 3 })
    await expect.poll(() => newer.frames.filter((frame) => frame.kind === 'snapshot')).toHaveLength(2)
    expect(newer.socket.destroyed).toBe(false)
  })

  test('hears a router through Redis', () => {
    hub.lead(leading)
    deliver({
      router: 'far',
      incarnation: '1',
      frame: { kind: 'hello', router: 'far', incarnation: '1', adminPort: 9 },
    })
    expect(relayed.filter((frame) => frame.kind === 'snapshot')).toHaveLength(2)
    deliver({
      router: 'far',
      incarnation: '1',
      frame: { kind: 'acknowledge', version: version(1), lingering: [] },
    })
    expect(hub.membership.known()).toMatchObject([{ id: 'far', connected: false }])
  })

  test('knows nothing of a router that has said goodbye, whatever comes late through Redis', async () => {
    hub.lead(leading)
    const router = dial('a')
    await expect.poll(() => hub.membership.known()).toHaveLength(1)
    router.say({ kind: 'goodbye' })
    await expect.poll(() => hub.membership.known()).toEqual([])
    const frame = { kind: 'hello', router: 'a', incarnation: '1', adminPort: 9 }
    deliver({ router: 'a', incarnation: '1', frame })
    expect(hub.membership.known()).toEqual([])
  })

  test('takes a router for connected while one of its connections is open', async () => {
    hub.lead(leading)
    const before = dial('a')
    await expect.poll(() => before.frames.length).toBeGreaterThan(0)
    const after = dial('a')
    await expect.poll(() => after.frames.length).toBeGreaterThan(0)
    before.socket.destroy()
    const other = dial('b')
    await expect.poll(() => other.frames.length).toBeGreaterThan(0)
    expect(hub.membership.known()).toMatchObject([
      { id: 'a', connected: true },
      { id: 'b', connected: true },
    ])
  })

  test('counts nothing of a router that serves a newer table than it was ever sent, and says so', async () => {
    hub.lead(leading)
    const router = dial('a')
    await expect.poll(() => hub.membership.known()).toHaveLength(1)
    const done = hub.audience.acknowledged(version(1), [], 500)
    for (const newer of [version(2), { epoch: 9, sequence: 0 }])
      router.say({ kind: 'acknowledge', version: newer, lingering: [] })
    expect(await done).toBe(false)
    expect(ahead).toEqual([version(2), { epoch: 9, sequence: 0 }])
    hub.audience.broadcast({ ...snapshot, version: version(2) })
    router.say({ kind: 'acknowledge', version: version(2), lingering: [] })
    expect(await hub.audience.acknowledged(version(2), [], 20_000)).toBe(true)
  })

  test('does not take the socket of a hub that lives', async () => {
    const second = openRouterHub({ socketPath: path, relay, log: pino({ level: 'silent' }) })
    await expect(second).rejects.toThrow(/another process listens/)
  })

  test('replaces a socket file that a dead process left behind', async () => {
    const stale = join(folder, 'stale.sock')
    await writeFile(stale, '')
    const replaced = await openRouterHub({ socketPath: stale, relay, log: pino({ level: 'silent' }) })
    await replaced.close()
  })
})
