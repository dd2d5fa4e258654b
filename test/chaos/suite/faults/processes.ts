import { setTimeout as delay } from 'node:timers/promises'
import { longest, msUntil, nowMs } from '../clock.ts'
import type { Fault, Finding } from '../fault.ts'
import type { Deployment } from '../probed-service.ts'
import { startSecondWorker } from '../second-worker.ts'
import type { Stage } from '../stage.ts'

/** Restarts of Berth's own processes, kills at chosen moments of a deployment, and leaders that come back late. */
export const processFaults: readonly Fault[] = [
  restarted('router', 60),
  restarted('api', 10),
  restarted('worker', 10),
  {
    name: 'router killed',
    target: {
      requests: { kind: 'measured', promise: '99.5 % with two routers' },
      healSeconds: 0.5,
    },
    run: async (stage) => {
      const injectedAt = nowMs()
      await stage.platform.signal('router', 'SIGKILL')
      const healMs = await msUntil(injectedAt, () => answers(stage), {
        describe: 'the edge to answer again',
        intervalMs: 10,
      })
      return { injectedAt, healMs, problems: [] }
    },
  },
  {
    name: 'api killed',
    target: { requests: { kind: 'none' }, gapSeconds: 1, healSeconds: 5, state: 'what was accepted is done' },
    run: async (stage) => rounds(stage, { test: 1, short: 3, full: 20 }, () => killApi(stage)),
  },
  {
    name: 'worker killed',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 15,
      state: '0 lost, 0 doubled, 0 orphans',
    },
    run: async (stage) => rounds(stage, { test: 1, short: 4, full: 100 }, () => killWorker(stage)),
  },
  {
    name: 'worker stopped',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 15,
      state: '0 lost, 0 doubled, 0 orphans',
    },
    run: (stage) => stopWorker(stage),
  },
  {
    name: 'zombie leader',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 15,
      state: '0 lost, 0 doubled, 0 orphans',
    },
    run: (stage) => stopLeaderOfTwo(stage),
  },
]

type Round = { injectedAt: number; detectMs?: number; healMs: number; problems: string[] }

/** Does the same several times; the finding has the worst of them. */
async function rounds(
  stage: Stage,
  amount: { test?: number; short: number; full: number },
  once: () => Promise<Round>,
): Promise<Finding> {
  const done: Round[] = []
  for (let round = 0; round < stage.amount(amount); round += 1) done.push(await once())
  const detectMs = longest(done.flatMap((round) => round.detectMs ?? []))
  return {
    injectedAt: done[0]?.injectedAt ?? nowMs(),
    ...(detectMs === undefined ? {} : { detectMs }),
    healMs: longest(done.map(({ healMs }) => healMs)) ?? 0,
    problems: done.flatMap(({ problems }) => problems),
  }
}

async function answers({ platform, service }: Stage): Promise<boolean> {
  return (await platform.request(service.name, { timeoutMs: 1000 })).status === 200
}

/** `./berth restart`, as an operator does it. */
function restarted(name: 'router' | 'api' | 'worker', healSeconds: number): Fault {
  return {
    name: `${name} restarted`,
    target: { requests: { kind: 'none' }, gapSeconds: 1, healSeconds },
    run: (stage) =>
      rounds(stage, { test: 1, short: 2, full: 10 }, async () => {
        const injectedAt = nowMs()
        await stage.platform.restart(name)
        const healMs = await msUntil(injectedAt, () => isReady(stage, name), {
          describe: `${name} to be ready`,
        })
        return { injectedAt, healMs, problems: [] }
      }),
  }
}

async function isReady({ platform }: Stage, name: string): Promise<boolean> {
  return (await platform.processStatus(name)).state === 'ready'
}

/**
 * Kills the API while it is answering a request for a deployment. What it accepted must be done; when the answer
 * was lost, the client asks again, as clients do.
 */
async function killApi(stage: Stage): Promise<Round> {
  const { platform, service, random } = stage
  const asked = service.ask().catch(() => undefined)
  await delay(random.between(0, 60))
  const injectedAt = nowMs()
  const pid = await platform.signal('api', 'SIGKILL')
  const accepted = await asked
  await platform.waitForProcess('api', pid)
  const healMs = nowMs() - injectedAt
  const deployment = accepted ?? (await service.insist())
  const problems = await service.outcomeOf(deployment)
  await service.serving()
  return { injectedAt, healMs, problems }
}

/** Kills the worker at some moment of a deployment, which must end well and leave exactly what is wanted. */
async function killWorker(stage: Stage): Promise<Round> {
  const { platform, service, random } = stage
  const deployment = await service.insist()
  await delay(random.between(0, 1500))
  const injectedAt = nowMs()
  await platform.signal('worker', 'SIGKILL')
  const problems = await service.outcomeOf(deployment)
  const healMs = nowMs() - injectedAt
  await service.serving()
  return { injectedAt, healMs, problems }
}

/** The only worker stands still for longer than its lease, and a deployment waits for it. */
async function stopWorker(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const injectedAt = nowMs()
  const pid = await platform.signal('worker', 'SIGSTOP')
  let continuedAt: number
  try {
    const deployment = await service.insist()
    await delay(stage.amount({ test: 6000, short: 8000, full: 60_000 }))
    process.kill(pid, 'SIGCONT')
    continuedAt = nowMs()
    const problems = await service.outcomeOf(deployment)
    return { injectedAt, healMs: nowMs() - continuedAt, problems }
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}

/**
 * Two workers; the leader stands still in the middle of a deployment, the other one takes over and finishes it, and
 * then the old leader goes on where it was while another deployment is under way.
 */
async function stopLeaderOfTwo(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const second = await startSecondWorker(platform)
  try {
    return await rounds(stage, { test: 1, short: 2, full: 10 }, async () => {
      const first = await service.insist()
      await delay(stage.random.between(0, 800))
      const leader = (await second.leads()) ? second.pid : ((await platform.processStatus('worker')).pid ?? 0)
      return await stopOne(stage, leader, first)
    })
  } finally {
    await second.stop()
    await platform.waitForProcess('worker')
  }
}

/** Stops `leader` for longer than its lease and wakes it in the middle of the deployment after `first`. */
async function stopOne({ service, random }: Stage, leader: number, first: Deployment): Promise<Round> {
  const injectedAt = nowMs()
  process.kill(leader, 'SIGSTOP')
  try {
    const problems = await service.outcomeOf(first)
    const takenOverAfter = nowMs() - injectedAt
    const later = await service.insist()
    await delay(random.between(0, 800))
    process.kill(leader, 'SIGCONT')
    const continuedAt = nowMs()
    problems.push(...(await service.outcomeOf(later)))
    await service.serving()
    return { injectedAt, detectMs: takenOverAfter, healMs: nowMs() - continuedAt, problems }
  } finally {
    process.kill(leader, 'SIGCONT')
  }
}
