import { z } from 'zod'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError } from './engine-error.ts'

/** A symbolic link in a container, and what it leads to. */
export type LinkedPath = { path: string; target: string }

const pathStat = z.object({ linkTarget: z.string() })

/**
 * The first part of an absolute path that is a symbolic link in the container, running or not. Whatever is mounted on
 * such a path comes to lie where the link leads, which only the image knows.
 */
export async function linkedPath(
  engine: EngineConnection,
  id: string,
  path: string,
): Promise<LinkedPath | undefined> {
  const names = path.split('/').filter((name) => name !== '')
  for (let depth = 1; depth <= names.length; depth += 1) {
    const part = `/${names.slice(0, depth).join('/')}`
    const target = await linkTarget(engine, id, part)
    if (target === undefined) return undefined
    if (target !== '') return { path: part, target }
  }
  return undefined
}

/** Empty for what is no link, undefined where there is nothing. */
async function linkTarget(engine: EngineConnection, id: string, path: string): Promise<string | undefined> {
  const what = `look at ${path} in container ${id}`
  const { status, body, deadline } = await engine.readStream({
    what,
    method: 'HEAD',
    path: `/containers/${id}/archive`,
    query: { path },
    limitMs: engine.limits.readMs,
    accept: [404],
  })
  using _deadline = deadline
  body.resume()
  if (status === 404) return undefined
  const header = String(body.headers['x-docker-container-path-stat'])
  try {
    return pathStat.parse(JSON.parse(Buffer.from(header, 'base64').toString())).linkTarget
  } catch (error) {
    throw new EngineError('EngineFailure', `${what}: the answer is not Docker's`, { cause: error })
  }
}
