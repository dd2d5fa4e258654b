import type { RegistryCredentials, RegistryView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { isRegistryHost, registryName } from '@berth/engine'
import { invalidField, notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'

/**
 * Makes or replaces the credentials for a registry, stored under the name that references to it come down to.
 * Throws `ApiError` invalid-field.
 */
export async function putRegistry(
  context: ApiContext,
  tx: Transaction,
  projectUid: string,
  name: string,
  { username, password }: RegistryCredentials,
): Promise<desired.RegistryRow> {
  const host = registryName(name)
  if (!isRegistryHost(host)) throw invalidField('host', 'must be host or host:port of a registry')
  const sealed = context.keyring.seal(password, desired.registryPasswordPurpose(projectUid, host))
  return await desired.putRegistry(tx, { projectUid, host, username, password: sealed })
}

/** Throws `ApiError` not-found. */
export async function removeRegistry(tx: Transaction, projectUid: string, name: string): Promise<void> {
  if (!(await desired.deleteRegistry(tx, projectUid, registryName(name)))) throw notFound('registry', name)
}

export function registryView(row: desired.RegistryRow): RegistryView {
  return { host: row.host, username: row.username, updatedAt: row.updatedAt.toISOString() }
}
