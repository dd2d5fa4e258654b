import type { DeploymentBody, Platform, ServiceBody } from '../../support/platform.ts'
import { until } from '../../support/poll.ts'
import { waitUntilSettled } from '../settled.ts'

export const replicaCount = 3

/** What an app does on SIGTERM, in the words of the test image. */
export type SigtermHabit = 'finishes' | 'exits at once' | 'ignores it'

const habits: Record<SigtermHabit, Record<string, string>> = {
  finishes: {},
  'exits at once': { EXIT_AT_ONCE: '1' },
  'ignores it': { IGNORE_SIGTERM: '1' },
}

/** How the next revision differs from the plain one: habit and environment of its app, further fields of the spec. */
export type Wish = { habit?: SigtermHabit; env?: Record<string, string>; more?: Record<string, unknown> }

export type FailedReplica = {
  id: string
  node: string
  state: string
  reason: string | null
  message: string | null
}

export type Deployment = { id: string; message: string }

/**
 * The service that is under load: three replicas that never idle. Replicas above `maxScale` are let go to cold,
 * which is what makes a scale-in.
 */
export type ProbedService = ReturnType<typeof openProbedService>

export function openProbedService(platform: Platform, name: string) {
  const { expectApi } = platform
  const spec = (message: string, env: Record<string, string>) => ({
    name,
    image: platform.connection.testImage,
    memory: '96Mi',
    minScale: replicaCount,
    maxScale: replicaCount,
    // Longer than any fault takes: a WebSocket lives as long as its request may.
    timeoutSeconds: 900,
    idle: { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 3600 },
    env: { ...env, MESSAGE: message },
  })
  let deployed = 0

  const service = {
    name,

    /** Asks once for a new revision and does not wait for it. Rejects when the API does not take it. */
    async ask({ habit = 'finishes', env = {}, more = {} }: Wish = {}): Promise<Deployment> {
      deployed += 1
      const message = `${name}-${deployed}`
      const body = { ...spec(message, { ...habits[habit], ...env }), ...more }
      const { body: answer } = await expectApi([202], 'PUT', `/services/${name}`, body)
      return { id: (answer as ServiceBody).deployment?.id ?? '', message }
    },

    /** The same, repeated until the API takes it. */
    insist: (wish?: Wish): Promise<Deployment> =>
      until(() => service.ask(wish), {
        timeoutMs: 60_000,
        intervalMs: 100,
        describe: 'a deployment to be accepted',
      }),

    /** What is wrong with a deployment that should have succeeded by now or soon; empty when it has. */
    async outcomeOf({ id, message }: Deployment): Promise<string[]> {
      const ended: DeploymentBody = await platform.waitForDeployment(id)
      if (ended.phase !== 'succeeded')
        return [`deployment ${id} ended ${ended.phase}: ${ended.reason ?? ''} ${ended.message ?? ''}`]
      const answer = await platform.request(name)
      const found = answer.status === 200 ? answer.json()['message'] : answer.status
      return found === message
        ? []
        : [`after deployment ${id} the service says ${String(found)}, not ${message}`]
    },

    /** Changes minScale and maxScale together. */
    scaleTo: async (count: number): Promise<void> => {
      await expectApi([200, 202], 'PATCH', `/services/${name}`, { minScale: count, maxScale: count })
    },

    /** Waits until there are exactly `count` ready replicas with exactly their containers and no others. */
    settled: (count = replicaCount): Promise<void> => waitUntilSettled(platform, name, { count }),

    /**
     * Waits until `count` replicas are ready, all of one revision, and none is on its way up. Replicas of older revisions
     * may still drain: the prober's long requests hold them.
     */
    serving: (count = replicaCount) =>
      until(
        async () => {
          const replicas = await platform.replicas(name)
          const ready = replicas.filter(({ state }) => state === 'ready')
          const revisions = new Set(ready.map(({ revision }) => revision))
          const coming = replicas.some(({ state }) => state === 'starting')
          return !coming && ready.length === count && revisions.size === 1 && ready
        },
        { timeoutMs: 60_000, intervalMs: 100, describe: `exactly ${count} replicas of ${name} to be ready` },
      ),

    /** Replicas that have failed lately and are still listed, with the reason that users see. */
    async failed(): Promise<FailedReplica[]> {
      const { body } = await expectApi([200], 'GET', `/services/${name}/replicas`)
      return (body as { items: FailedReplica[] }).items.filter(({ state }) => state === 'failed')
    },

    ready: async () => (await platform.replicas(name)).filter(({ state }) => state === 'ready'),
  }
  return service
}
