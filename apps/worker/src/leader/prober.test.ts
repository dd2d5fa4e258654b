import type { NodeUid, ProbeTemplate, ReplicaId } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import type { ProbeResult } from '../replicas/index.ts'
import { createProber } from './prober.ts'
import { aNode, aReplica, aRevision, aWorld } from './testing/picture.ts'
import type { ReplicaView, RevisionView } from './world-model.ts'

const id = 'rep-1' as ReplicaId
const bad: ProbeResult = { ok: false, message: 'status 503' }
const good: ProbeResult = { ok: true }

const everySecond: ProbeTemplate = {
  check: { kind: 'httpGet', path: '/healthz', headers: [] },
  initialDelaySeconds: 0,
  periodSeconds: 1,
  timeoutSeconds: 1,
  successThreshold: 2,
  failureThreshold: 3,
}

type Probes = { readinessProbe?: ProbeTemplate; livenessProbe?: ProbeTemplate }

function probed(probes: Probes): RevisionView {
  const revision = aRevision()
  const containers = revision.template.containers.map((container) => ({ ...container, ...probes }))
  return { ...revision, template: { ...revision.template, containers } }
}

/** A prober whose answers are the test's; what it concludes changes the picture as the leader would. */
function proberBench(probes: Probes, replicas: ReplicaView[] = [aReplica()], perNode?: number) {
  const world = aWorld({
    revisions: [probed(probes)],
    replicas,
    nodes: [aNode(), aNode({ uid: 'nod-2' as NodeUid })],
  })
  const clock = { ms: 0 }
  const state = { fresh: true, busy: false, answer: good as ProbeResult | null | 'hangs' }
  const asked: ReplicaId[] = []
  const told: string[] = []
  const hanging: PromiseWithResolvers<ProbeResult | null>[] = []
  const prober = createProber({
    picture: world,
    keeper: { busyWith: () => state.busy },
    ask(replica) {
      asked.push(replica.id)
      if (state.answer !== 'hangs') return Promise.resolve(state.answer)
      const answer = Promise.withResolvers<ProbeResult | null>()
      hanging.push(answer)
      return answer.promise
    },
    isFresh: () => state.fresh,
    onReadiness(replica, message) {
      told.push(message ?? 'ready')
      world.updateReplica(replica, { reason: message === null ? null : 'ProbeFailed', message })
    },
    onHung: (_replica, message) => void told.push(`hung: ${message}`),
    now: () => clock.ms,
    random: () => 0.5,
    ...(perNode === undefined ? {} : { perNode }),
  })
  async function tick(): Promise<void> {
    prober.tick()
    await new Promise((resolve) => void setImmediate(resolve))
  }
  /** Lets as many periods pass, with an answer in each. */
  async function periods(count: number, answer: ProbeResult | null): Promise<void> {
    state.answer = answer
    for (let period = 0; period < count; period += 1) {
      clock.ms += 1000
      await tick()
    }
  }
  return {
    world,
    state,
    asked,
    told,
    hanging,
    tick,
    periods,
    pass: (ms: number) => void (clock.ms += ms),
  }
}

describe('a readiness probe', () => {
  test('is asked once per period, from some moment within the first', async () => {
    const { asked, tick, pass } = proberBench({ readinessProbe: everySecond })
    await tick()
    pass(499)
    await tick()
    expect(asked).toEqual([])
    pass(1)
    await tick()
    await tick()
    expect(asked).toHaveLength(1)
    pass(1000)
    await tick()
    expect(asked).toHaveLength(2)
  })

  test('calls the replica unready after its failures in a row, and ready after its successes', async () => {
    const { told, tick, periods } = proberBench({ readinessProbe: everySecond })
    await tick()
    await periods(2, bad)
    expect(told).toEqual([])
    await periods(1, bad)
    expect(told).toEqual(['status 503'])
    await periods(1, good)
    expect(told).toEqual(['status 503'])
    await periods(1, good)
    expect(told).toEqual(['status 503', 'ready'])
  })

  test('does not count what could not be asked', async () => {
    const { told, tick, periods } = proberBench({ readinessProbe: everySecond })
    await tick()
    await periods(9, null)
    expect(told).toEqual([])
  })

  test('asks a replica that was found unready at once, and keeps it unready until it succeeds', async () => {
    const unready = aReplica({ reason: 'ProbeFailed', message: 'status 503' })
    const { asked, told, tick, periods } = proberBench({ readinessProbe: everySecond }, [unready])
    await tick()
    expect(asked).toHaveLength(1)
    expect(told).toEqual([])
    await periods(1, good)
    expect(told).toEqual(['ready'])
  })

  test.each<[string, Partial<ReplicaView>]>([
    ['frozen', { rung: 'frozen', serving: false }],
    ['frozen and being woken', { rung: 'frozen', serving: true }],
    ['parked', { rung: 'parked', serving: false }],
    ['withdrawn', { serving: false }],
    ['draining', { state: 'draining' }],
    ['restarting', { state: 'starting', serving: false }],
  ])('is not asked while the replica is %s, and counts anew afterwards', async (_what, change) => {
    const { world, asked, told, tick, periods } = proberBench({ readinessProbe: everySecond })
    await tick()
    await periods(2, bad)
    const before = asked.length
    world.updateReplica(id, change)
    await periods(5, bad)
    expect(asked).toHaveLength(before)
    world.updateReplica(id, { state: 'ready', rung: 'running', serving: true })
    await tick()
    await periods(2, bad)
    expect(told).toEqual([])
  })

  test('is not asked while something is being done to the replica', async () => {
    const { state, asked, periods } = proberBench({ readinessProbe: everySecond })
    state.busy = true
    await periods(3, bad)
    expect(asked).toEqual([])
  })

  test('is not asked on a node that is down', async () => {
    const { world, asked, periods } = proberBench({ readinessProbe: everySecond })
    world.put({ nodes: [aNode({ reachability: 'down' })] })
    await periods(3, bad)
    expect(asked).toEqual([])
  })

  test('is not asked without the lease, and an answer that comes then counts nothing', async () => {
    const { state, asked, told, hanging, tick, periods, pass } = proberBench({
      readinessProbe: { ...everySecond, failureThreshold: 1 },
    })
    state.answer = 'hangs'
    await tick()
    pass(1000)
    await tick()
    state.fresh = false
    hanging[0]?.resolve(bad)
    await periods(3, bad)
    expect(asked).toHaveLength(1)
    expect(told).toEqual([])
  })

  test('that was answered after the replica froze counts nothing', async () => {
    const { world, state, told, hanging, tick, pass } = proberBench({
      readinessProbe: { ...everySecond, failureThreshold: 1 },
    })
    state.answer = 'hangs'
    await tick()
    pass(1000)
    await tick()
    world.updateReplica(id, { rung: 'frozen', serving: false })
    hanging[0]?.resolve(bad)
    await new Promise((resolve) => void setImmediate(resolve))
    expect(told).toEqual([])
  })
})

describe('a liveness probe', () => {
  const livenessProbe = { ...everySecond, successThreshold: 1 }

  test('tells of a hung app after its failures in a row, and goes on until somebody does something', async () => {
    const { told, tick, periods } = proberBench({ livenessProbe })
    await tick()
    await periods(2, bad)
    expect(told).toEqual([])
    await periods(2, bad)
    expect(told).toEqual(['hung: status 503', 'hung: status 503'])
  })

  test('waits for its initial delay', async () => {
    const { asked, tick, periods } = proberBench({
      livenessProbe: { ...livenessProbe, initialDelaySeconds: 5 },
    })
    await tick()
    await periods(5, bad)
    expect(asked).toEqual([])
    await periods(1, bad)
    expect(asked).toHaveLength(1)
  })
})

describe('many replicas', () => {
  const many = (count: number, node: string): ReplicaView[] =>
    Array.from({ length: count }, (_, index) =>
      aReplica({ id: `rep-${node}-${index}` as ReplicaId, nodeUid: node as NodeUid }),
    )

  test('have no more questions under way on a node than it may have', async () => {
    const bench = proberBench({ readinessProbe: everySecond }, many(10, 'nod-1'), 3)
    const { state, asked, hanging, tick, pass } = bench
    state.answer = 'hangs'
    await tick()
    pass(1000)
    await tick()
    await tick()
    expect(asked).toHaveLength(3)
    hanging[0]?.resolve(good)
    await tick()
    await tick()
    expect(new Set(asked).size).toBe(4)
  })

  test('on a node that hangs delay nobody on another one', async () => {
    const replicas = [...many(10, 'nod-1'), ...many(2, 'nod-2')]
    const { state, asked, tick, pass } = proberBench({ readinessProbe: everySecond }, replicas, 3)
    state.answer = 'hangs'
    await tick()
    pass(1000)
    await tick()
    expect(asked.filter((each) => each.startsWith('rep-nod-2'))).toHaveLength(2)
  })
})
