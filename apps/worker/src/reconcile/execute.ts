import { newId, type Environment, type NodeUid, type ProjectUid, type ServiceUid } from '@berth/contracts'
import {
  adoptRevision,
  advanceDeployment,
  deleteServiceRows,
  drainReplicas,
  finishDeployment,
  makeRevision,
  noteRollout,
  readDesiredTemplate,
  reportTrouble,
  reserveReplica,
  rollBackTraffic,
  shiftTraffic,
  takeTrafficBack,
  writeReadyCondition,
  type Database,
  type Keyring,
  type LeaseRef,
  type ReconcileSnapshot,
  type RevisionFacts,
} from '@berth/db'
import type { RegistryAccess } from '@berth/engine'
import type { Logger } from 'pino'
import type { Action, ServiceMemory } from './action.ts'
import { contentHash } from './content-hash.ts'
import { awaitImage, type ImageOutcome } from './image-question.ts'
import { resourcesOf } from './place.ts'
import { resolveImage } from './resolve-image.ts'

/** What a pass acts with. */
export type ExecutionContext = {
  db: Database
  keyring: Keyring
  registryAccess: (project: ProjectUid) => RegistryAccess
  lease: LeaseRef
  snapshot: ReconcileSnapshot
  memory: ServiceMemory
  /** What a pass did not wait for has come to an end: another one is due. */
  onLate: () => void
  log: Logger
}

type Executors = {
  [K in Action['kind']]: (context: ExecutionContext, action: Extract<Action, { kind: K }>) => Promise<void>
}

/**
 * Carries out one action. What it meets changed since the snapshot it leaves alone: the next plan sees it. Throws
 * `LeaseLostError` and errors of the store.
 */
export async function execute<K extends Action['kind']>(
  context: ExecutionContext,
  action: Extract<Action, { kind: K }>,
): Promise<void> {
  const executor: Executors[K] = executors[action.kind]
  await executor(context, action)
}

const executors: Executors = {
  async 'resolve-image'(context, { deployment, attempt }) {
    const { db, lease, snapshot, memory } = context
    const { service } = snapshot
    const desired = await readDesiredTemplate(db, service.uid)
    if (!desired) return
    const image = desired.template.containers[0]?.image ?? ''
    const message = attempt === 1 ? `resolving ${image}` : `resolving ${image}, attempt ${attempt}`
    const env = openEnvironment(context, desired.env)
    const access = context.registryAccess(service.projectUid)
    const askedAt = performance.now()
    const asked = resolveImage(desired.template, access).then((answer): ImageOutcome => {
      if (answer.kind === 'failed') return answer
      const { repository, digest, architectures } = answer
      const hash = contentHash(desired.template, env)
      return { kind: 'resolved', image: { repository, digest, architectures, contentHash: hash } }
    })
    const question = { deployment, generation: desired.generation, attempt }
    await Promise.all([
      awaitImage(memory, question, asked, {
        now: () => snapshot.readAt.getTime() + performance.now() - askedAt,
        onLate: context.onLate,
      }),
      advanceDeployment(db, lease, deployment, { phase: 'resolving', message }),
    ])
  },

  async 'make-revision'(context, { deployment, image, suffix }) {
    const { db, keyring, lease, snapshot, memory, log } = context
    const serviceUid = snapshot.service.uid
    const desired = await readDesiredTemplate(db, serviceUid)
    if (!desired) return
    const uid = newId('RevisionUid')
    const env = openEnvironment(context, desired.env)
    if (contentHash(desired.template, env) !== image.contentHash) {
      delete memory.image
      return
    }
    const made = await makeRevision(db, lease, deployment, {
      uid,
      serviceUid,
      generation: desired.generation,
      template: desired.template,
      env: keyring.seal(JSON.stringify(env), `revision:${uid}:env`),
      contentHash: image.contentHash,
      imageRepository: image.repository,
      imageDigest: image.digest,
      architectures: image.architectures,
      suffix,
    })
    if (made !== 'conflict') log.info({ revision: made.name, digest: image.digest }, 'revision made')
  },

  async 'reuse-revision'({ db, lease }, { deployment, revision, message }) {
    await adoptRevision(db, lease, deployment, { ...revision, message })
  },

  async 'place-replicas'({ db, lease, snapshot, log }, action) {
    const { deployment, nodes, atMost } = action
    const revision = snapshot.revisions.find(({ uid }) => uid === action.revision.uid)
    if (!revision) return
    for (const node of nodes) {
      const result = await reserveReplica(db, lease, {
        ...placeOf(snapshot, revision, node.uid),
        deploymentId: deployment,
        maxReplicas: atMost,
      })
      if (result.kind === 'refused') {
        log.info({ node: node.name, because: result.because }, 'reservation refused')
        return
      }
      await advanceDeployment(db, lease, deployment, {
        phase: 'placing',
        node: node.name,
        message: `replica ${result.replica.id} of ${revision.name} placed`,
      })
      log.info({ node: node.name, revision: revision.name, replica: result.replica.id }, 'replica placed')
    }
  },

  async 'replace-replicas'({ db, lease, snapshot, log }, { revision: { uid }, replacements, atMost }) {
    const revision = snapshot.revisions.find((candidate) => candidate.uid === uid)
    if (!revision) return
    for (const { of, node } of replacements) {
      const result = await reserveReplica(db, lease, {
        ...placeOf(snapshot, revision, node.uid),
        deploymentId: null,
        replaces: of,
        maxReplicas: atMost,
      })
      if (result.kind === 'refused')
        return log.info({ node: node.name, because: result.because }, 'reservation refused')
      log.info(
        { node: node.name, replica: result.replica.id, replaces: of },
        'replica on a drained node replaced',
      )
    }
  },

  async 'report-trouble'({ db, lease }, { deployment, reason, message }) {
    await reportTrouble(db, lease, deployment, { reason, message })
  },

  async 'shift-traffic'({ db, lease, snapshot, log }, { traffic, deployment, ready }) {
    await shiftTraffic(db, lease, snapshot.service.uid, {
      traffic,
      ...(deployment ? { deployment } : {}),
      ...(ready ? { ready } : {}),
    })
    log.info({ traffic, deployment: deployment?.id }, 'traffic shifted')
  },

  async 'note-rollout'({ db, lease }, { deployment, rollout, message }) {
    await noteRollout(db, lease, deployment, { rollout, message })
  },

  async 'take-traffic-back'({ db, lease, snapshot, log }, { deployment, back, end }) {
    if (await takeTrafficBack(db, lease, snapshot.service.uid, { deployment, back, end }))
      log.info({ deployment, traffic: back.traffic, reason: end.reason }, 'traffic taken back')
  },

  async 'roll-back'({ db, lease, snapshot, log }, { deployment, back, why }) {
    if (await rollBackTraffic(db, lease, snapshot.service.uid, { deployment, back, why }))
      log.warn({ deployment, traffic: back.traffic, ...why }, 'traffic rolled back')
  },

  async 'finish-deployment'({ db, lease, memory, log }, { deployment, phase, reason, message }) {
    await finishDeployment(db, lease, deployment, { phase, reason, message })
    if (memory.image?.deployment === deployment) delete memory.image
    log.info({ deployment, phase, reason }, 'deployment ended')
  },

  async 'retire-replicas'({ db, lease, snapshot, log }, { replicas }) {
    await drainReplicas(db, lease, snapshot.service.uid, replicas)
    log.info({ replicas }, 'replicas retired')
  },

  async 'set-condition'({ db, lease, snapshot }, { observedGeneration, ready }) {
    await writeReadyCondition(db, lease, snapshot.service.uid, { observedGeneration, ready })
  },

  async 'delete-service'({ db, lease, snapshot, log }) {
    if (await deleteServiceRows(db, lease, snapshot.service.uid)) log.info('service deleted')
  },

  async wait() {},
}

/** A reservation of one more replica, as far as it follows from the snapshot. */
function placeOf({ service }: ReconcileSnapshot, revision: RevisionFacts, nodeUid: NodeUid) {
  return { serviceUid: service.uid, revisionUid: revision.uid, nodeUid, ...resourcesOf(revision) }
}

function openEnvironment({ keyring, snapshot }: ExecutionContext, sealed: Buffer): Environment {
  const purpose = environmentPurpose(snapshot.service.uid)
  return JSON.parse(keyring.openText(sealed, purpose)) as Environment
}

function environmentPurpose(service: ServiceUid): string {
  return `service:${service}:env`
}
