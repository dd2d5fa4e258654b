import { callHttp, type HttpCall } from '../http-call.ts'

type Listed = { Id: string; Labels?: Record<string, string> }

/**
 * Stops and removes every container of an installation on one engine, apps before the sandboxes whose network
 * they live in. Returns how many there were; 0 when the engine does not answer (its containers are not ours to
 * reach, and the next start compares anyway).
 */
export async function removeContainers(target: HttpCall['target'], installation: string): Promise<number> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`berth.installation=${installation}`] }))
  const listed = await callHttp({ target, path: `/v1.41/containers/json?all=1&filters=${filters}` }).catch(
    () => undefined,
  )
  if (listed?.status !== 200) return 0
  const containers = JSON.parse(listed.body) as Listed[]
  const isSandbox = ({ Labels }: Listed) => Labels?.['berth.role'] === 'sandbox'
  const rounds = [containers.filter((each) => !isSandbox(each)), containers.filter(isSandbox)]
  for (const round of rounds) await Promise.all(round.map(({ Id }) => removeOne(target, Id)))
  return containers.length
}

/** The app's grace of 10 s is kept; a paused one is continued first, because it could not end otherwise. */
async function removeOne(target: HttpCall['target'], id: string): Promise<void> {
  const post = (path: string) => callHttp({ target, method: 'POST', path, timeoutMs: 30_000 })
  await post(`/v1.41/containers/${id}/unpause`)
  await post(`/v1.41/containers/${id}/stop?t=10`)
  await callHttp({ target, method: 'DELETE', path: `/v1.41/containers/${id}?force=1&v=1`, timeoutMs: 30_000 })
}

/**
 * Where `down` can reach an engine by itself: unix sockets and plain TCP. With mutual TLS it cannot, because
 * the keys are in the database; such containers stay until the next start compares.
 */
export function directTarget(endpoint: string): HttpCall['target'] | undefined {
  if (endpoint.startsWith('unix:///')) return { socketPath: endpoint.slice('unix://'.length) }
  const [, host, port] = /^tcp:\/\/(127\.[0-9.]+):([0-9]+)$/.exec(endpoint) ?? []
  return host === undefined ? undefined : { host, port: Number(port) }
}
