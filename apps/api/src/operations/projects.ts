import { defaultProject, type ProjectSpec, type ProjectView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { ApiError, notFound } from '../api-error.ts'

/** Throws `ApiError` already-exists. */
export async function createProject(tx: Transaction, spec: ProjectSpec): Promise<desired.ProjectRow> {
  if ((await desired.findProject(tx, spec.name)) !== undefined)
    throw new ApiError('already-exists', `A project "${spec.name}" exists already.`)
  return await desired.insertProjectRow(tx, spec.name)
}

/** With its tokens and registry credentials. Throws `ApiError` not-found, conflict or in-use. */
export async function removeProject(tx: Transaction, name: string): Promise<void> {
  if (name === defaultProject)
    throw new ApiError('conflict', `The project "${defaultProject}" is always there.`)
  const project = await desired.findProject(tx, name)
  if (project === undefined) throw notFound('project', name)
  const left = await desired.deleteProject(tx, project.uid)
  if (left !== null)
    throw new ApiError('in-use', `The project "${name}" still has ${left}: delete them first.`)
}

export function projectView(project: desired.ProjectRow): ProjectView {
  return { name: project.name, uid: project.uid, createdAt: project.createdAt.toISOString() }
}
