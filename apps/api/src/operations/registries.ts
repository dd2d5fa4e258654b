import { registryHost, type RegistryCredentials, type RegistryView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { invalidField, notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'

/** Makes or replaces the credentials for a registry host. Throws `ApiError` invalid-field. */
export async function putRegistry(
  context: ApiContext,
  tx: Transaction,
  projectUid: string,
  host: string,
  { username, password }: RegistryCredentials,
): Promise<desired.RegistryRow> {
  if (!registryHost.test(host)) throw invalidField('host', 'must be host or host:port in lower case')
  const sealed = context.keyring.seal(password, desired.registryPasswordPurpose(projectUid, host))
  return await desired.putRegistry(tx, { projectUid, host, username, password: sealed })
}

/** Throws `ApiError` not-found. */
export async function removeRegistry(tx: Transaction, projectUid: string, host: string): Promise<void> {
  if (!(await desired.deleteRegistry(tx, projectUid, host))) throw notFound('registry', host)
}

export function registryView(row: desired.RegistryRow): RegistryView {
  return { host: row.host, username: row.username, updatedAt: row.updatedAt.toISOString() }
}
