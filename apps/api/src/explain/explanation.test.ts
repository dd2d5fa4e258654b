import type { DeploymentId, RevisionUid, VolumeUid } from '@berth/contracts'
import type { Condition, desired } from '@berth/db'
import { describe, expect, test } from 'vitest'
import { explain, type FoundLines } from './explanation.ts'
import {
  aCondition,
  aDeployment,
  aFailedReplica,
  aNode,
  aReplica,
  aRevision,
  readAtMs,
  theFacts,
} from './testing/facts.ts'

const noLines: FoundLines = { replica: null, lines: [], unavailable: null }
const place = { origin: 'http://127.0.0.1:8081', prefix: '', url: 'http://hello.localhost:8080' }
const gibibyte = 1024 ** 3

function explained(
  facts: Partial<desired.ExplanationFacts> = {},
  condition: Partial<Condition> = {},
  lines = noLines,
) {
  return explain({ facts: theFacts(facts), condition: aCondition(condition), lines, place })
}

const messagesAbout = (view: ReturnType<typeof explained>, about: string) =>
  view.findings.filter((finding) => finding.about === about).map(({ message }) => message)

describe('a service that answers', () => {
  test('is said to be ready, with how its replicas stand', () => {
    const view = explained({ replicas: [aReplica('a'), aReplica('b', { rung: 'frozen' })] })
    expect(view).toMatchObject({
      service: 'hello',
      ready: 'True',
      summary: 'hello is ready: hello-00001 serves.',
      lastLines: [],
    })
    expect(view.findings.map(({ message }) => message)).toEqual([
      'Ready, Serving: hello-00001 serves.',
      'hello-00001 gets 100 % of the traffic: replicas 1 running, 1 frozen.',
    ])
    expect(view.next).toEqual([{ why: 'Ask the service.', command: "curl -i 'http://hello.localhost:8080'" }])
  })

  test('and is cold has a place to start, or is warned that it has none', () => {
    const cold = explained({ replicas: [] })
    expect(messagesAbout(cold, 'revision')).toEqual([
      'hello-00001 gets 100 % of the traffic: no replica: the next request starts one.',
    ])
    expect(messagesAbout(cold, 'placement')).toEqual([
      'One more replica of hello-00001 would fit now, on n1 for one.',
    ])
    const full = aNode('n1', { reserved: { cpuMillis: 0, memoryBytes: 3.5 * gibibyte } })
    const stuck = explained({ replicas: [], nodes: [full] })
    expect(stuck.findings).toContainEqual({
      about: 'placement',
      severity: 'warning',
      revision: 'hello-00001',
      node: 'n1',
      message: 'n1: memory 64Mi asked, 0 free',
    })
    expect(stuck.summary).toContain('One thing stands out beside that.')
  })

  test('tells what its last deployment failed on, and where', () => {
    const lastFinished = aDeployment({
      phase: 'failed',
      reason: 'OutOfMemory',
      message: 'the app used more memory than its limit of 64Mi; its last lines were:\nloading',
      node: 'n2',
      finishedAt: new Date(readAtMs - 20_000),
    })
    const view = explained({ lastFinished })
    expect(view.findings).toContainEqual({
      about: 'deployment',
      severity: 'error',
      message:
        'The last deployment that ended, dep-2, failed: OutOfMemory, the app used more memory than its limit of 64Mi.',
      node: 'n2',
      revision: 'hello-00002',
      at: new Date(readAtMs - 20_000).toISOString(),
    })
    expect(view.next[0]?.command).toBe(
      `curl -X PATCH -H "Authorization: Bearer $token" --json '{"memory":"128Mi"}' 'http://127.0.0.1:8081/services/hello'`,
    )
  })

  test('tells why the traffic of its last deployment went back', () => {
    const rolledBack = { reason: 'AppCrashed', message: 'the app ended with exit code 2' } as const
    const view = explained({ lastFinished: aDeployment({ phase: 'succeeded', rolledBack }) })
    expect(messagesAbout(view, 'deployment')).toEqual([
      'The traffic of deployment dep-2 went back: AppCrashed, the app ended with exit code 2.',
    ])
  })

  test('tells that its rollout is paused', () => {
    const open = aDeployment({ phase: 'shifting', pausedAt: new Date(readAtMs) })
    expect(messagesAbout(explained({ open }), 'deployment')).toEqual([
      'Deployment dep-2 is paused while shifting.',
    ])
  })

  test('that a rollback has pinned is told how to go on', () => {
    const service = { ...theFacts().service, pinnedRevision: 'hello-00001' }
    expect(explained({ service }).next[0]?.why).toContain('End the pin of the rollback')
  })
})

describe('a service that is not placed', () => {
  const unplaced = { status: 'False', reason: 'Unplaceable', message: 'none of 4 nodes fits' } as const
  const open = aDeployment({
    reason: 'Unplaceable',
    message: 'none of 4 nodes fits: 1 node: memory 64Mi asked, 0 free',
  })

  test('gets the reason of each node that was meant, and a count of the others', () => {
    const view = explained(
      {
        status: { ...theFacts().status, traffic: [] },
        revisions: [aRevision(2, { readyAt: null })],
        replicas: [],
        open,
        nodes: [
          aNode('n1', { reserved: { cpuMillis: 0, memoryBytes: 3.5 * gibibyte } }),
          aNode('n2', { scheduling: 'cordoned' }),
          aNode('n3', { reachability: 'down', message: 'the engine does not answer' }),
          aNode('other', { pool: 'gpu' }),
        ],
      },
      unplaced,
    )
    expect(view.summary).toBe('hello is not ready (Unplaceable): none of 4 nodes fits.')
    expect(messagesAbout(view, 'revision')).toEqual([
      'hello-00002 is being deployed and gets no traffic yet: no replica.',
    ])
    expect(messagesAbout(view, 'placement')).toEqual([
      'n1: memory 64Mi asked, 0 free',
      'n2: cordoned',
      'n3: down',
      '1 node: not in pool default',
    ])
    expect(messagesAbout(view, 'node')).toEqual([
      'n2 is cordoned: nothing new is placed there.',
      'n3 is down: the engine does not answer.',
    ])
    expect(view.next.map(({ why }) => why)).toContain('See what the nodes have left.')
  })

  test('because of a volume is told where that is', () => {
    const revision = aRevision(2)
    const [container] = revision.template.containers
    if (container) container.volumes = [{ name: 'data', mountPath: '/data' }]
    const volumes = [{ uid: 'vol-1' as VolumeUid, name: 'data', nodeUid: aNode('n1').uid, made: true }]
    const nodes = [aNode('n1', { scheduling: 'cordoned' }), aNode('n2')]
    const view = explained({ revisions: [revision], replicas: [], open, nodes, volumes }, unplaced)
    expect(messagesAbout(view, 'placement')).toEqual(['n1: cordoned', 'n2: volume "data" is on n1'])
  })

  test('does not list hundreds of nodes', () => {
    const nodes = Array.from({ length: 300 }, (_, index) => aNode(`n${index}`, { scheduling: 'draining' }))
    const view = explained({ revisions: [aRevision(2)], replicas: [], open, nodes }, unplaced)
    expect(messagesAbout(view, 'placement')).toHaveLength(21)
    expect(messagesAbout(view, 'placement').at(-1)).toBe('280 more nodes refuse it too.')
  })

  test('hears what the leader says of a revision, a hold for example', () => {
    const failure = {
      reason: 'NodeLost',
      message: 'rescheduling is on hold: 3 of 4 nodes were lost within 30 s',
    }
    const view = explained({ revisions: [aRevision(1, { failure })], replicas: [] })
    expect(messagesAbout(view, 'revision')).toContain(
      'hello-00001 does not start: NodeLost, rescheduling is on hold: 3 of 4 nodes were lost within 30 s.',
    )
  })
})

describe('starts that fail', () => {
  const own = { deploymentId: 'dep-2' as DeploymentId, revisionUid: 'rev-2' as RevisionUid }

  test('are counted, with the back-off and when the next one is due', () => {
    const replicas = [aFailedReplica('a', 9_000, own), aFailedReplica('b', 500, own)]
    const view = explained({ open: aDeployment(), replicas, revisions: [aRevision(1), aRevision(2)] })
    expect(messagesAbout(view, 'deployment')).toEqual([
      'Deployment dep-2 is placing. 2 starts have failed; the back-off is 2 s, the next try is due in 2 s.',
    ])
  })

  test('of a revision that serves are tried again as well', () => {
    const failure = { reason: 'AppCrashed', message: 'the app ended with exit code 2' }
    const ready = new Date(readAtMs - 5_000)
    const replicas = [
      aFailedReplica('a', 9_000, { readyAt: ready }),
      aFailedReplica('b', 4_000),
      aFailedReplica('c', 1_000),
    ]
    expect(
      messagesAbout(explained({ revisions: [aRevision(1, { failure })], replicas }), 'revision')[1],
    ).toBe(
      'hello-00001 does not start: AppCrashed, the app ended with exit code 2. 2 starts have failed; the back-off is 2 s, the next try is due in 1 s.',
    )
  })

  test('are told one by one, newest first and without the lines that they quote', () => {
    const message = 'the app ended with exit code 137 (SIGKILL); its last lines were:\na'
    const replicas = [1, 2, 3, 4, 5, 6, 7].map((n) => aFailedReplica(`rep-${n}`, n * 1000, { message }))
    const told = messagesAbout(explained({ replicas }), 'replica')
    expect(told[0]).toBe('rep-1 failed: AppCrashed, the app ended with exit code 137 (SIGKILL).')
    expect(told).toHaveLength(6)
    expect(told.at(-1)).toBe('2 more have failed before.')
  })

  test('of an app that ended while it served wait in its place', () => {
    const replica = aReplica('a', {
      state: 'starting',
      reason: 'AppCrashed',
      message: 'it ended',
      restarts: 5,
      ends: ['2026-01-01T00:00:00Z', '2026-01-01T00:00:02Z', '2026-01-01T00:00:05Z'],
    })
    expect(messagesAbout(explained({ replicas: [replica] }), 'replica')).toEqual([
      'a is being started again, restart 5: AppCrashed, it ended. It waits 4 s at most before.',
    ])
  })

  test('come with the lines of the app, or with why there are none', () => {
    const lines = { replica: 'rep-1', lines: ['a', 'b'], unavailable: null }
    expect(explained({}, {}, lines)).toMatchObject({ lastLinesOf: 'rep-1', lastLines: ['a', 'b'] })
    const unavailable = 'The log lines of rep-1 are not available: no worker answers for them just now.'
    expect(messagesAbout(explained({}, {}, { ...lines, lines: [], unavailable }), 'logs')).toEqual([
      unavailable,
    ])
  })
})

describe('restarts that are over', () => {
  const ago = (ms: number) => new Date(readAtMs - ms)
  const restarted = (change: Partial<desired.ServiceEventRow>): desired.ServiceEventRow => ({
    id: 1,
    serviceUid: 'svc-1',
    at: ago(60_000),
    firstAt: ago(60_000),
    count: 1,
    kind: 'ReplicaRestarted',
    revision: 'hello-00001',
    node: 'n1',
    replicaId: 'rep-1',
    reason: 'OutOfMemory',
    message: 'more than 64Mi; its last lines were:\na',
    ...change,
  })

  test('are told with time, node and reason, and how often', () => {
    const events = [
      restarted({ count: 3, firstAt: ago(120_000) }),
      restarted({
        kind: 'ReplicaFailed',
        replicaId: 'rep-0',
        node: null,
        reason: 'NodeLost',
        message: 'gone',
        at: ago(3_600_000),
      }),
    ]
    const view = explained({ events })
    expect(view.findings.filter(({ about }) => about === 'replica')).toEqual([
      {
        about: 'replica',
        severity: 'warning',
        message:
          'At 2027-01-15T07:59:00.000Z an app of hello-00001 on n1 was restarted, 3 times since 2027-01-15T07:58:00.000Z: OutOfMemory, more than 64Mi.',
        revision: 'hello-00001',
        replica: 'rep-1',
        node: 'n1',
        at: '2027-01-15T07:59:00.000Z',
      },
      {
        about: 'replica',
        severity: 'info',
        message: 'At 2027-01-15T07:00:00.000Z a replica of hello-00001 failed: NodeLost, gone.',
        revision: 'hello-00001',
        replica: 'rep-0',
        at: '2027-01-15T07:00:00.000Z',
      },
    ])
    expect(view.summary).toContain('One thing stands out beside that.')
  })

  test('are left out where the replica is told by itself, and beyond the five latest', () => {
    const failed = aFailedReplica('rep-1', 1_000)
    const events = [1, 2, 3, 4, 5, 6, 7].map((n) => restarted({ id: n, replicaId: `rep-${n}` }))
    const replicas = explained({ events, replicas: [failed] }).findings.filter(
      ({ about }) => about === 'replica',
    )
    expect(replicas.map(({ replica }) => replica)).toEqual([
      'rep-1',
      'rep-2',
      'rep-3',
      'rep-4',
      'rep-5',
      'rep-6',
    ])
    expect(replicas[0]?.message).toContain('failed')
  })
})

test('a service that is being deleted is said to be, and needs nothing', () => {
  const service = { ...theFacts().service, deletedAt: new Date(readAtMs) }
  const view = explained({ service, replicas: [] }, { status: 'False', reason: 'Deleting' })
  expect(view.summary).toBe('hello is being deleted.')
  expect(view.next).toEqual([])
})
