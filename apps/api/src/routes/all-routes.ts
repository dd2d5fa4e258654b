import type { ApiContext } from '../context.ts'
import { deploymentRoutes } from './deployments.ts'
import { nodeRoutes } from './nodes.ts'
import { poolRoutes } from './pools.ts'
import { volumeRoutes } from './volumes.ts'
import { projectRoutes } from './projects.ts'
import { registryRoutes } from './registries.ts'
import { revisionRoutes } from './revisions.ts'
import type { Route } from './route.ts'
import { serviceRoutes } from './services.ts'
import { tokenRoutes } from './tokens.ts'

/** The whole API in the order in which it is documented. */
export function allRoutes(context: ApiContext): Route[] {
  return [
    ...serviceRoutes(context),
    ...revisionRoutes(context),
    ...deploymentRoutes(),
    ...nodeRoutes(context),
    ...poolRoutes(),
    ...volumeRoutes(context),
    ...projectRoutes(),
    ...tokenRoutes(),
    ...registryRoutes(context),
  ]
}

const projectPrefix = '/projects/{project}'

/** The paths a route answers on: a project's resources have a canonical path and the short form. */
export function pathsOf(route: Route): string[] {
  return route.access === 'project' ? [`${projectPrefix}${route.path}`, route.path] : [route.path]
}
