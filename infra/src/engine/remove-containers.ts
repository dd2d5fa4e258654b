import { callHttp } from '../http-call.ts'

type Listed = { Id: string; Labels?: Record<string, string> }

/**
 * Stops and removes every container of an installation on one engine, apps before the sandboxes whose network
 * they live in. Returns how many there were; 0 when the engine does not answer (its containers are not ours to
 * reach, and the next start compares anyway).
 */
export async function removeContainers(socketPath: string, installation: string): Promise<number> {
  const target = { socketPath }
  const filters = encodeURIComponent(JSON.stringify({ label: [`berth.installation=${installation}`] }))
  const listed = await callHttp({ target, path: `/v1.41/containers/json?all=1&filters=${filters}` }).catch(
    () => undefined,
  )
  if (listed?.status !== 200) return 0
  const containers = JSON.parse(listed.body) as Listed[]
  const isSandbox = ({ Labels }: Listed) => Labels?.['berth.role'] === 'sandbox'
  const rounds = [containers.filter((each) => !isSandbox(each)), containers.filter(isSandbox)]
  for (const round of rounds) await Promise.all(round.map(({ Id }) => removeOne(socketPath, Id)))
  return containers.length
}

/** The app's grace of 10 s is kept; a paused one is continued first, because it could not end otherwise. */
async function removeOne(socketPath: string, id: string): Promise<void> {
  const target = { socketPath }
  const post = (path: string) => callHttp({ target, method: 'POST', path, timeoutMs: 30_000 })
  await post(`/v1.41/containers/${id}/unpause`)
  await post(`/v1.41/containers/${id}/stop?t=10`)
  await callHttp({ target, method: 'DELETE', path: `/v1.41/containers/${id}?force=1&v=1`, timeoutMs: 30_000 })
}
