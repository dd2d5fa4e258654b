import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { routerFrame, type LeaderFrame, type RouterFrame, type RouteSnapshot } from '@berth/contracts'
import { readLines } from '../channel/frame-lines.ts'

export type StandInLeader = Awaited<ReturnType<typeof startStandInLeader>>

/** A leader for tests: answers a hello with its table and remembers every frame. */
export async function startStandInLeader(snapshot: () => RouteSnapshot | undefined) {
  const folder = await mkdtemp(join(tmpdir(), 'br-'))
  const socketPath = join(folder, 's')
  const frames: RouterFrame[] = []
  const sockets = new Set<Socket>()
  const listeners = new Set<(frame: RouterFrame) => void>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => sockets.delete(socket))
    readLines(socket, (object) => {
      const frame = routerFrame.parse(object)
      frames.push(frame)
      const table = snapshot()
      if (frame.kind === 'hello' || frame.kind === 'resync')
        write(socket, table ?? { kind: 'heartbeat', epoch: 1 })
      for (const listener of listeners) listener(frame)
    })
  })
  const heartbeat = setInterval(() => send({ kind: 'heartbeat', epoch: 1 }), 500)
  await listen()

  function listen(): Promise<void> {
    return new Promise((resolve) => {
      server.listen(socketPath, resolve)
    })
  }

  function write(socket: Socket, frame: LeaderFrame): void {
    if (socket.writable) socket.write(`${JSON.stringify(frame)}\n`)
  }

  function send(frame: LeaderFrame): void {
    for (const socket of sockets) write(socket, frame)
  }

  /** Stops answering, as a leader that dies; `start` brings it back at the same place. */
  async function stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    for (const socket of sockets) socket.destroy()
    await closed
  }

  return {
    socketPath,
    folder,
    frames,
    send,
    /** To every router, whatever it is. */
    sendLine(line: string): void {
      for (const socket of sockets) socket.write(`${line}\n`)
    },
    stop,
    start: listen,
    /** The newest frame of a kind. */
    last<Kind extends RouterFrame['kind']>(kind: Kind): Extract<RouterFrame, { kind: Kind }> | undefined {
      return frames.findLast((frame): frame is Extract<RouterFrame, { kind: Kind }> => frame.kind === kind)
    },
    onFrame(listener: (frame: RouterFrame) => void): void {
      listeners.add(listener)
    },
    async close(): Promise<void> {
      clearInterval(heartbeat)
      if (server.listening) await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
