import type { ReplicaRoute } from '@berth/contracts'
import { acceptsConnection } from '../accepts-connection.ts'
import type { Upstream, UpstreamCall, UpstreamListener, UpstreamRequest } from '../upstream.ts'
import { ReplicaSession, type SessionOwner } from './replica-session.ts'

const answersWithinMs = 2000

/** Connections to a replica whose port is declared `h2c`: one, and more only while it takes too few streams on it. */
export function openSessionPool(route: ReplicaRoute): Upstream {
  return new SessionPool(route)
}

class SessionPool implements Upstream, SessionOwner {
  readonly #route: ReplicaRoute
  readonly #sessions = new Set<ReplicaSession>()
  #isClosed = false

  constructor(route: ReplicaRoute) {
    this.#route = route
  }

  send(request: UpstreamRequest, listener: UpstreamListener): UpstreamCall {
    if (this.#isClosed) return refused('the replica is not asked any more', listener)
    try {
      return this.#sessionWithRoom().send(request, listener)
    } catch (error) {
      return refused(String(error), listener)
    }
  }

  answers(): Promise<boolean> {
    return acceptsConnection(this.#route, answersWithinMs)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const sessions = [...this.#sessions]
    for (const session of sessions) session.close('the replica is not asked any more')
    await Promise.all(sessions.map((session) => session.closed))
  }

  onSessionClosed(session: ReplicaSession): void {
    this.#sessions.delete(session)
  }

  /** Throws when the address or port is none. */
  #sessionWithRoom(): ReplicaSession {
    for (const session of this.#sessions) if (session.hasRoom) return session
    const session = new ReplicaSession(this.#route, this)
    this.#sessions.add(session)
    return session
  }
}

function refused(message: string, listener: UpstreamListener): UpstreamCall {
  listener.failed({ kind: 'connect', written: false, received: false, message })
  return { resume: () => undefined, abort: () => undefined, breakOff: () => undefined }
}
