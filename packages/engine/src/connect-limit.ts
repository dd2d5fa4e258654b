import type { Agent } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/**
 * Makes connections of the agent fail that are not there, with TLS and all, within `limitMs`. What a fence has let
 * through must not wait for a connection until somebody else leads: a fence is good for 4 s, a lease lasts 5 s.
 */
export function limitConnecting(agent: Agent, limitMs: number): void {
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = create(options, callback) as Socket | TLSSocket | null | undefined
    if (socket) endUnlessConnected(socket, limitMs)
    return socket
  }
}

function endUnlessConnected(socket: Socket | TLSSocket, limitMs: number): void {
  const failure = Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT', syscall: 'connect' })
  const timer = setTimeout(() => socket.destroy(failure), limitMs)
  const settle = () => clearTimeout(timer)
  socket.once('encrypted' in socket ? 'secureConnect' : 'connect', settle)
  socket.once('close', settle)
}
