import * as net from 'node:net'
import { isIPv6 } from 'node:net'
import { Failure } from '../failure.ts'

/** A bound socket whose descriptor is handed to a process, which listens and accepts on it. */
export type ListeningSocket = { descriptor: number; close(): void }

type Handle = { fd: number; close(): void; getsockname(out: object): number }

/*
 * A `net.Server` would accept connections here as soon as it listens. What is wanted is a socket that is only
 * bound: `node:cluster` makes it by this function of `net`, which is not part of the types. The socket stays
 * open as long as the supervisor lives, so connections wait in the kernel while a router is replaced.
 */
const { _createServerHandle: createHandle } = net as unknown as {
  _createServerHandle: (address: string, port: number, family: 4 | 6, fd: number) => Handle | number
}

/** Binds `host`:`port`. Throws a Failure when the port is taken or the address is not there; undefined for ::1, which not every machine has. */
export function bindSocket(host: string, port: number): ListeningSocket | undefined {
  const handle = createHandle(host, port, isIPv6(host) ? 6 : 4, -1)
  // libuv keeps EADDRINUSE back until the socket is used for the first time.
  const problem = typeof handle === 'number' ? handle : handle.getsockname({})
  if (problem === 0 && typeof handle !== 'number')
    return { descriptor: handle.fd, close: () => handle.close() }
  if (typeof handle !== 'number') handle.close()
  if (problem === -98) throw new Failure(`Port ${port} of ${host} is taken.`)
  if (host === '::1') return undefined
  throw new Failure(`${host} cannot be listened on, port ${port} (error ${problem}).`)
}
