import type { ReplicaId, RouteVersion } from '@berth/contracts'
import { hasSeen } from './route-publisher.ts'

/*
 * Which routers there are and what each has acknowledged.
 *
 * A router is known from its hello on. It is gone when its connection is closed and either its admin port refuses
 * or it has said nothing, on either way, for `excusedAfterMs`. Only routers that are known have to acknowledge.
 */

const excusedAfterMs = 10_000

type Member = {
  id: string
  incarnation: string
  adminPort: number
  connected: boolean
  /** False while it is only known from the leader before. */
  heard: boolean
  lastHeardAt: number
  served?: RouteVersion
  lingering: ReadonlySet<string>
}

type Waiter = { isDone(): boolean; finish(everyone: boolean): void }

export type RouterMembershipOptions = {
  now(): number
  /** Resolves true when nothing listens on the router's admin port any more. */
  isGone(adminPort: number): Promise<boolean>
  onExcused(router: string, why: string): void
}

export function createRouterMembership(options: RouterMembershipOptions) {
  const members = new Map<string, Member>()
  const waiters = new Set<Waiter>()

  function settle(): void {
    for (const waiter of waiters) if (waiter.isDone()) waiter.finish(true)
  }

  function remove(member: Member, why: string): void {
    if (members.get(member.id) !== member) return
    members.delete(member.id)
    options.onExcused(member.id, why)
    settle()
  }

  function checkGone(member: Member): void {
    void options.isGone(member.adminPort).then((gone) => {
      if (gone && !member.connected) remove(member, 'its connection is closed and its admin port refuses')
    })
  }

  return {
    hello(
      id: string,
      incarnation: string,
      adminPort: number,
      connected: boolean,
      served?: RouteVersion,
    ): void {
      const known = members.get(id)
      const same = known?.incarnation === incarnation
      members.set(id, {
        id,
        incarnation,
        adminPort,
        connected,
        heard: true,
        lastHeardAt: options.now(),
        lingering: same ? known.lingering : new Set(),
        ...(served ? { served } : {}),
      })
      settle()
    },

    /** A router that the leader before knew: waited for until it says hello here, or is excused. */
    expect(id: string, incarnation: string, adminPort: number): void {
      if (members.has(id)) return
      const silent = {
        connected: false,
        heard: false,
        lastHeardAt: options.now(),
        lingering: new Set<string>(),
      }
      members.set(id, { id, incarnation, adminPort, ...silent })
    },

    heard(id: string): void {
      const member = members.get(id)
      if (!member) return
      member.heard = true
      member.lastHeardAt = options.now()
    },

    acknowledge(id: string, served: RouteVersion, lingering: readonly string[]): void {
      const member = members.get(id)
      if (!member) return
      member.served = served
      member.lingering = new Set(lingering)
      member.lastHeardAt = options.now()
      settle()
    },

    /** The router has ended in peace: it holds no request and needs no excuse. */
    goodbye(id: string): void {
      members.delete(id)
      settle()
    },

    disconnected(id: string, incarnation: string): void {
      const member = members.get(id)
      if (!member || member.incarnation !== incarnation) return
      member.connected = false
      checkGone(member)
    },

    /** Called every second: excuses who has been silent too long. */
    tick(): void {
      for (const member of members.values()) {
        if (member.connected) continue
        if (options.now() - member.lastHeardAt > excusedAfterMs) remove(member, 'it has been silent for 10 s')
        else checkGone(member)
      }
    },

    /**
     * True once every known router serves `version` or newer and lingers on none of `replicas`; false at the
     * deadline. With no router known there is nobody to wait for.
     */
    acknowledged(
      version: RouteVersion,
      replicas: readonly ReplicaId[],
      deadlineMs: number,
    ): Promise<boolean> {
      const isDone = () =>
        [...members.values()].every(
          (member) =>
            member.served !== undefined &&
            hasSeen(member.served, version) &&
            replicas.every((replica) => !member.lingering.has(replica)),
        )
      if (isDone()) return Promise.resolve(true)
      return new Promise((resolve) => {
        const timer = setTimeout(() => waiter.finish(false), deadlineMs)
        const waiter: Waiter = {
          isDone,
          finish(everyone) {
            clearTimeout(timer)
            waiters.delete(waiter)
            resolve(everyone)
          },
        }
        waiters.add(waiter)
      })
    },

    close(): void {
      for (const waiter of waiters) waiter.finish(false)
    },

    known(): { id: string; incarnation: string; adminPort: number; connected: boolean; heard: boolean }[] {
      return [...members.values()].map(({ id, incarnation, adminPort, connected, heard }) => ({
        id,
        incarnation,
        adminPort,
        connected,
        heard,
      }))
    },
  }
}
