import { hostLabelProblem, serviceSpec, type ServiceSpec, type TrafficSpec } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { parseReference } from '@berth/engine'
import { ApiError, invalidField, invalidFields, type FieldError } from '../api-error.ts'
import { parseBody } from '../http/parse-with.ts'

/** A spec with all that can be told without the database. Throws `ApiError` invalid-field. */
export function parseServiceSpec(value: unknown, project: string): ServiceSpec {
  const spec = parseBody(serviceSpec, value)
  const errors: FieldError[] = []
  const image = imageProblem(spec.image)
  if (image !== undefined) errors.push({ path: 'image', message: image })
  const host = hostLabelProblem({ service: spec.name, project })
  if (host !== undefined) errors.push({ path: 'name', message: host })
  errors.push(...tagProblems(spec.traffic, spec.name, project))
  if (errors.length > 0) throw invalidFields(errors)
  return spec
}

/** Throws `ApiError` invalid-field for a tag whose composed host label does not fit. */
export function checkTags(traffic: TrafficSpec, service: string, project: string): void {
  const errors = tagProblems(traffic, service, project, '')
  if (errors.length > 0) throw invalidFields(errors)
}

/** The pool must exist, and so must every revision that traffic names; `serviceUid` is absent for a new service. */
export async function checkSpecReferences(
  tx: Transaction,
  spec: ServiceSpec,
  serviceUid: string | undefined,
): Promise<void> {
  if ((await desired.findPool(tx, spec.pool)) === undefined)
    throw invalidField('pool', `there is no pool "${spec.pool}"`)
  await checkTrafficRevisions(tx, spec.traffic, serviceUid, 'traffic.')
}

/**
 * Every revision must be there, and one that is to get requests must have been ready once: a tag at 0 % may lead to any.
 * Throws `ApiError` invalid-field.
 */
export async function checkTrafficRevisions(
  tx: Transaction,
  traffic: TrafficSpec,
  serviceUid: string | undefined,
  prefix = '',
): Promise<void> {
  const named = traffic.map(({ revision }) => revision).filter((revision) => revision !== 'latest')
  const ready =
    serviceUid === undefined ? new Map<string, boolean>() : await desired.readyByName(tx, serviceUid, named)
  const errors = traffic.flatMap((target, index) => {
    const message = targetProblem(target, ready)
    return message === undefined ? [] : [{ path: `${prefix}${index}.revision`, message }]
  })
  if (errors.length > 0) throw invalidFields(errors)
}

function targetProblem(
  { revision, percent }: TrafficSpec[number],
  ready: ReadonlyMap<string, boolean>,
): string | undefined {
  if (revision === 'latest') return undefined
  const wasReady = ready.get(revision)
  if (wasReady === undefined) return 'is neither "latest" nor a revision of the service'
  return percent > 0 && !wasReady ? 'was never ready, so it gets no traffic' : undefined
}

/** Whether the image can only ever mean one thing. */
export function isPinned(image: string): boolean {
  return parseReference(image).digest !== undefined
}

function imageProblem(image: string): string | undefined {
  try {
    parseReference(image)
    return undefined
  } catch (error) {
    if (error instanceof ApiError || !(error instanceof Error)) throw error
    return error.message
  }
}

function tagProblems(
  traffic: TrafficSpec,
  service: string,
  project: string,
  prefix = 'traffic.',
): FieldError[] {
  return traffic.flatMap(({ tag }, index) => {
    const problem = tag === null ? undefined : hostLabelProblem({ service, project, tag })
    return problem === undefined ? [] : [{ path: `${prefix}${index}.tag`, message: problem }]
  })
}
