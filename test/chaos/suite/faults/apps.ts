import { callHttp } from '../../../../infra/src/http-call.ts'
import { msUntil, nowMs } from '../clock.ts'
import type { Fault, Finding } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** Far more than the 96Mi that the app may have. */
const tooMuchMegabytes = 300

/** Apps that die, hang or eat up their memory while they serve. */
export const appFaults: readonly Fault[] = [
  {
    name: 'app killed',
    target: { requests: { kind: 'none-sent-after', ms: 2000 }, detectSeconds: 2, healSeconds: 10 },
    run: async (stage) => {
      const { id, pid } = await pickApp(stage)
      const injectedAt = nowMs()
      process.kill(pid, 'SIGKILL')
      return { injectedAt, ...(await watchRestart(stage, id, injectedAt)), problems: [] }
    },
  },
  {
    name: 'app hung',
    target: {
      requests: { kind: 'none-sent-after', ms: 3000 },
      // Two questions, a second apart, each a second long; then SIGTERM, of which it hears nothing, and the grace.
      detectSeconds: 4,
      healSeconds: 20,
      state: 'it is restarted, as its liveness probe asks',
    },
    run: hang,
  },
  {
    name: 'out of memory',
    target: {
      requests: { kind: 'none-sent-after', ms: 2000 },
      detectSeconds: 2,
      healSeconds: 10,
      state: 'the reason is OutOfMemory',
    },
    run: async (stage) => {
      const injectedAt = nowMs()
      const eaten = stage.platform.request(stage.service.name, { path: `/eat?mb=${tooMuchMegabytes}` })
      const detectMs = await msUntil(injectedAt, () => someReasonIs(stage, 'OutOfMemory'), {
        describe: 'a replica whose reason is OutOfMemory',
        intervalMs: 20,
      })
      await eaten.catch(() => undefined)
      await stage.service.serving()
      return { injectedAt, detectMs, healMs: nowMs() - injectedAt, problems: [] }
    },
  },
]

/** Every process of one app stands still: connections are accepted by the kernel and nothing answers. */
async function hang(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const probe = { httpGet: { path: '/healthz' }, periodSeconds: 1, timeoutSeconds: 1 }
  const more = {
    readinessProbe: { ...probe, failureThreshold: 1 },
    livenessProbe: { ...probe, failureThreshold: 2 },
  }
  const problems = await service.outcomeOf(await service.insist({ more }))
  const { id, pid } = await pickApp(stage)
  const family = await platform.processFamily(pid)
  const injectedAt = nowMs()
  for (const member of family) process.kill(member, 'SIGSTOP')
  try {
    const watched = await watchRestart(stage, id, injectedAt)
    return { injectedAt, ...watched, problems }
  } finally {
    for (const member of family.toReversed()) continueIfThere(member)
    await service.outcomeOf(await service.insist())
  }
}

function continueIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT')
  } catch {
    // It was killed and replaced, as it should be.
  }
}

/** A ready replica, and the process of its app as the machine sees it. */
async function pickApp({ platform, service, random }: Stage): Promise<{ id: string; pid: number }> {
  const { id, node, containers } = random.pick(await service.serving())
  const engine = platform.connection.engines.find(({ name }) => name === node)
  const app = containers.find(({ name }) => name === 'app')
  if (engine === undefined || app === undefined) throw new Error(`replica ${id} has no app on a known engine`)
  const { body } = await callHttp({
    target: { socketPath: engine.socketPath },
    path: `/containers/${app.id}/json`,
  })
  const { State: state } = JSON.parse(body) as { State: { Pid: number } }
  return { id, pid: state.Pid }
}

/** Until the replica is not called ready any more, and until there are as many as before. */
async function watchRestart(
  { service }: Stage,
  id: string,
  since: number,
): Promise<{ detectMs: number; healMs: number }> {
  const detectMs = await msUntil(
    since,
    async () => !(await service.ready()).some((replica) => replica.id === id),
    { describe: `replica ${id} to be called not ready`, intervalMs: 20, timeoutMs: 30_000 },
  )
  await service.serving()
  return { detectMs, healMs: nowMs() - since }
}

async function someReasonIs({ platform, service }: Stage, reason: string): Promise<boolean> {
  const { body } = await platform.expectApi([200], 'GET', `/services/${service.name}/replicas`)
  const { items } = body as { items: { reason: string | null }[] }
  return items.some((replica) => replica.reason === reason)
}
