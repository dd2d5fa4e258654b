import type { ProjectUid } from '@berth/contracts'
import { desired, readRegistryLogins, type Database, type Keyring } from '@berth/db'
import type { RegistryAccess } from '@berth/engine'

/** Which registries may be asked for a project's images, with the logins that the project has stored. */
export function registryAccessOf(options: {
  db: Database
  keyring: Keyring
  platformRegistry: string
  allowedHosts: readonly string[]
}): (project: ProjectUid) => RegistryAccess {
  const { db, keyring, platformRegistry, allowedHosts } = options
  return (project) => ({
    platformRegistry,
    allowedHosts,
    async credentials(registry) {
      const logins = await readRegistryLogins(db, project)
      const login = logins.find(({ host }) => host === registry)
      if (login === undefined) return undefined
      const purpose = desired.registryPasswordPurpose(project, login.host)
      return { username: login.username, password: keyring.openText(login.password, purpose) }
    },
  })
}
