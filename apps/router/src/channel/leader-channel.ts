import { connect, type Socket } from 'node:net'
import { parseLeaderFrame, type LeaderFrame, type RouterFrame } from '@berth/contracts'
import type { Logger } from 'pino'
import { readLines } from './frame-lines.ts'

/*
 * The direct way to the leader: a unix socket, one JSON object a line.
 *
 * dialling   no connection; tried again after 50 ms, then twice as long each time up to 1 s
 * greeting   connected, our hello is on its way
 * led        a frame of the leader has come; frames go both ways
 *
 * A worker that does not lead says so and closes; a leader that is silent for 3 s is taken for dead.
 */

const firstDelayMs = 50
const longestDelayMs = 1000
const silentAfterMs = 3000
/** More than this unsent means that nobody reads: frames are levels, a new connection starts over. */
const maxUnsentBytes = 16 * 1024 * 1024

export type LeaderChannelOptions = {
  socketPath: string
  log: Logger
  hello(): RouterFrame
  onFrame(frame: LeaderFrame): void
  /** True when the leader answers on this way, false when it does no more. */
  onLed(led: boolean): void
}

export type LeaderChannel = {
  led(): boolean
  /** False when there is no leader on this way; the frame is dropped then. */
  send(frame: RouterFrame): boolean
  /** Resolves when what was sent has gone out, or cannot. */
  close(): Promise<void>
}

export function openLeaderChannel(options: LeaderChannelOptions): LeaderChannel {
  let socket: Socket | undefined
  let led = false
  let closed = false
  let delayMs = firstDelayMs
  let redial: NodeJS.Timeout | undefined
  let silence: NodeJS.Timeout | undefined

  function dial(): void {
    const dialled = connect(options.socketPath)
    socket = dialled
    dialled.on('connect', () => {
      dialled.write(`${JSON.stringify(options.hello())}\n`)
      listenForSilence()
    })
    readLines(dialled, (object) => take(dialled, parseLeaderFrame(object)))
    dialled.on('error', (error) => options.log.debug({ err: error }, 'connection to the leader failed'))
    dialled.once('end', () => dialled.destroy())
    dialled.once('close', () => lost(dialled))
  }

  function take(from: Socket, frame: LeaderFrame | null): void {
    if (from !== socket) return
    listenForSilence()
    if (frame === null) return
    if (frame.kind === 'not-leader') {
      from.destroy()
      return
    }
    delayMs = firstDelayMs
    if (!led) {
      led = true
      options.log.info('leader found')
      options.onLed(true)
    }
    options.onFrame(frame)
  }

  function lost(from: Socket): void {
    if (from !== socket) return
    socket = undefined
    clearTimeout(silence)
    if (led) {
      led = false
      options.log.warn('leader lost')
      options.onLed(false)
    }
    if (closed) return
    // A share of chance keeps many routers from dialling a new leader in step.
    redial = setTimeout(dial, delayMs * (0.75 + Math.random() / 2))
    delayMs = Math.min(delayMs * 2, longestDelayMs)
  }

  function listenForSilence(): void {
    clearTimeout(silence)
    silence = setTimeout(() => socket?.destroy(), silentAfterMs)
  }

  dial()
  return {
    led: () => led,
    send(frame) {
      if (!socket || !led) return false
      if (socket.writableLength > maxUnsentBytes) {
        socket.destroy()
        return false
      }
      socket.write(`${JSON.stringify(frame)}\n`)
      return true
    },
    close() {
      closed = true
      clearTimeout(redial)
      const last = socket
      if (!last || !led) {
        last?.destroy()
        clearTimeout(silence)
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        last.once('close', () => resolve())
        last.end(() => last.destroy())
      })
    },
  }
}
