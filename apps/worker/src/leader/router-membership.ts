import type { HelloFrame, ReplicaId, RouteVersion } from '@berth/contracts'
import { hasSeen } from './route-publisher.ts'

/*
 * Which routers there are and what each has acknowledged.
 *
 * expected  the leader before knew it; waited for like any other
 * known     it has said hello in this term
 *
 * One is gone when it says goodbye, when its connection is closed and its process has ended or its admin port refuses,
 * or when it has said nothing, on either way, for `excusedAfterMs`, whatever its connection does: a process that stands
 * still keeps that.
 * The admin port is asked on this host only, so it tells nothing about a router that speaks through Redis alone.
 *
 * Whoever serves looks for the leader again within 1.25 s. Until `findingMs` of the term are over nobody can tell
 * whether all have come, so nothing counts as acknowledged by everyone.
 */

const excusedAfterMs = 10_000
/** Routers report twice a second: one that was heard within this time is there, whatever its admin port says. */
const lateAfterMs = 2_000
const findingMs = 2_000
const tickMs = 1_000
const noticedMs = 100

type Member = {
  id: string
  incarnation: string
  adminPort: number
  process: HelloFrame['process']
  connected: boolean
  /** Where its admin port is: on this host when it has dialled here, and unknown before it has said hello. */
  place: 'here' | 'unknown' | 'behind-redis'
  lastHeardAt: number
  /** What it has acknowledged last: the version, and the replicas that still had requests there. */
  served?: RouteVersion
  lingering: ReadonlySet<string>
}

export type RouterMember = Pick<Member, 'id' | 'incarnation' | 'adminPort' | 'connected'> & { heard: boolean }

type Waiter = { isDone(): boolean; finish(everyone: boolean): void }

export type RouterMembershipOptions = {
  now(): number
  /** Resolves true when nothing listens on the router's admin port any more. */
  isGone(adminPort: number): Promise<boolean>
  /** True when the process is known to be over. */
  hasEnded(process: HelloFrame['process']): boolean
  onExcused(router: string, why: string, how: { ended: boolean }): void
}

export function createRouterMembership(options: RouterMembershipOptions) {
  const members = new Map<string, Member>()
  const waiters = new Set<Waiter>()
  const listeners = new Set<() => void>()
  let begunAt = -Infinity
  let finding: NodeJS.Timeout | undefined
  let tickedAt = options.now()

  function settle(): void {
    for (const waiter of waiters) if (waiter.isDone()) waiter.finish(true)
  }

  function changed(): void {
    settle()
    for (const listener of listeners) listener()
  }

  function remove(member: Member, why: string): void {
    if (members.get(member.id) !== member) return
    members.delete(member.id)
    options.onExcused(member.id, why, { ended: options.hasEnded(member.process) })
    changed()
  }

  function checkEnded(member: Member): boolean {
    const ended = !member.connected && options.hasEnded(member.process)
    if (ended) remove(member, 'its process has ended')
    return ended
  }

  function checkGone(member: Member): void {
    if (checkEnded(member)) return
    void options.isGone(member.adminPort).then((gone) => {
      if (gone && !member.connected) remove(member, 'its connection is closed and its admin port refuses')
    })
  }

  function allHaveCome(): boolean {
    return options.now() - begunAt >= findingMs
  }

  /** Nobody was heard while this process stood still itself: that time does not count. */
  function skipOwnStandstill(): void {
    const stoodStillMs = options.now() - tickedAt - tickMs
    tickedAt = options.now()
    if (stoodStillMs > tickMs) for (const member of members.values()) member.lastHeardAt += stoodStillMs
  }

  return {
    /** A term begins. Those that its predecessor knew are `expect`ed before. */
    begin(): void {
      begunAt = options.now()
      finding = setTimeout(settle, findingMs)
    },

    /** The term is over: whoever waits hears that not everyone has answered, and nobody is known any more. */
    end(): void {
      clearTimeout(finding)
      members.clear()
      for (const waiter of waiters) waiter.finish(false)
    },

    /**
     * What was acknowledged before stays as it is for the same process. The version that it serves counts only
     * together with the requests that it still has, so with its next acknowledgement.
     */
    hello({ router: id, incarnation, adminPort, process }: HelloFrame, direct: boolean): void {
      const known = members.get(id)
      const same = known?.incarnation === incarnation ? known : undefined
      members.set(id, {
        id,
        incarnation,
        adminPort,
        process,
        connected: direct || same?.connected === true,
        place: direct || same?.place === 'here' ? 'here' : 'behind-redis',
        lastHeardAt: options.now(),
        lingering: same?.lingering ?? new Set(),
        ...(same?.served ? { served: same.served } : {}),
      })
      if (same === undefined || same.place === 'unknown') changed()
    },

    /** A router that the leader before knew: waited for until it says hello here, or is excused. */
    expect(id: string, incarnation: string, adminPort: number): void {
      if (members.has(id)) return
      members.set(id, {
        id,
        incarnation,
        adminPort,
        process: undefined,
        connected: false,
        place: 'unknown',
        lastHeardAt: options.now(),
        lingering: new Set(),
      })
    },

    heard(id: string): void {
      const member = members.get(id)
      if (member) member.lastHeardAt = options.now()
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
      if (members.delete(id)) changed()
    },

    disconnected(id: string, incarnation: string): void {
      const member = members.get(id)
      if (!member || member.incarnation !== incarnation) return
      member.connected = false
      checkGone(member)
      // A process that has just been killed is there until its parent has taken notice.
      setTimeout(() => checkEnded(member), noticedMs).unref()
    },

    /** Called every second: excuses who has been silent too long. */
    tick(): void {
      skipOwnStandstill()
      for (const member of members.values()) {
        const silentMs = options.now() - member.lastHeardAt
        if (silentMs > excusedAfterMs) remove(member, 'it has been silent for 10 s')
        else if (checkEnded(member)) continue
        else if (!member.connected && member.place !== 'behind-redis' && silentMs > lateAfterMs)
          checkGone(member)
      }
      settle()
    },

    /**
     * True once every router serves `version` or newer and lingers on none of `replicas`; false at the deadline, or
     * when the term ends. With no router there is nobody to wait for.
     */
    acknowledged(
      version: RouteVersion,
      replicas: readonly ReplicaId[],
      deadlineMs: number,
    ): Promise<boolean> {
      const isDone = () =>
        allHaveCome() &&
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

    /** Whether each router that the leader before knew has come or is taken for gone. */
    awaitsNobody: (): boolean =>
      allHaveCome() || [...members.values()].every(({ place }) => place !== 'unknown'),

    /** Whether there is surely no router, so that nobody's report is missing. */
    isEmpty: (): boolean => members.size === 0 && allHaveCome(),

    known: (): RouterMember[] =>
      [...members.values()].map(({ id, incarnation, adminPort, connected, place }) => ({
        id,
        incarnation,
        adminPort,
        connected,
        heard: place !== 'unknown',
      })),

    /** Called whenever a router comes or goes within the term. */
    onChange(listener: () => void): () => void {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
