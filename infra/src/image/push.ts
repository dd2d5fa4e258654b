import { createReadStream } from 'node:fs'
import { request } from 'node:http'
import { Failure, messageOf } from '../failure.ts'
import { callHttp } from '../http-call.ts'
import { type BuiltImage, manifestType, sha256 } from './node-image.ts'

const uploadTimeoutMs = 300_000

export type PushTarget = { host: string; port: number; repository: string; tag: string }

/** Splits "127.0.0.1:5050/hello:1"; a Failure unless it names a registry on this machine. */
export function parsePushTarget(reference: string): PushTarget {
  const match =
    /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost):(\d{1,5})\/([a-z0-9][a-z0-9._/-]*)(?::([\w][\w.-]{0,127}))?$/.exec(
      reference,
    )
  const [, host, port, repository, tag] = match ?? []
  if (host === undefined || port === undefined || repository === undefined)
    throw new Failure(`"${reference}" must look like 127.0.0.1:5050/hello:1 (the platform's registry).`)
  return { host, port: Number(port), repository, tag: tag ?? 'latest' }
}

/**
 * Pushes what the registry does not have yet, and returns the manifest's digest. A registry that does not answer is a
 * Failure.
 */
export async function pushImage(image: BuiltImage, to: PushTarget): Promise<string> {
  try {
    return await push(image, to)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(
      `The registry at ${to.host}:${to.port} does not answer (${messageOf(error)}); ./berth up starts the platform's own.`,
      { cause: error },
    )
  }
}

async function push(image: BuiltImage, to: PushTarget): Promise<string> {
  const target = { host: to.host, port: to.port }
  for (const layer of image.layers) {
    await ensureBlob(to, layer.digest, layer.size, async (path) => {
      await upload(to, path, layer.size, layer.file)
    })
  }
  await ensureBlob(to, sha256(image.config), image.config.length, async (path) => {
    const headers = { 'content-type': 'application/octet-stream' }
    expectStatus(await callHttp({ target, method: 'PUT', path, headers, body: image.config }), 201)
  })
  const answer = await callHttp({
    target,
    method: 'PUT',
    path: `/v2/${to.repository}/manifests/${to.tag}`,
    headers: { 'content-type': manifestType },
    body: image.manifest,
    timeoutMs: 30_000,
  })
  expectStatus(answer, 201)
  return image.digest
}

async function ensureBlob(
  to: PushTarget,
  digest: string,
  size: number,
  send: (path: string) => Promise<void>,
): Promise<void> {
  const target = { host: to.host, port: to.port }
  const base = `/v2/${to.repository}/blobs`
  const found = await callHttp({ target, method: 'HEAD', path: `${base}/${digest}` })
  if (found.status === 200 && Number(found.headers['content-length']) === size) return
  const begun = await callHttp({ target, method: 'POST', path: `${base}/uploads/` })
  expectStatus(begun, 202)
  const location = new URL(begun.headers.location ?? '', `http://${to.host}:${to.port}`)
  location.searchParams.set('digest', digest)
  await send(location.pathname + location.search)
}

/** What counts is the answer: it may come before the last write has been told to be done. */
async function upload(to: PushTarget, path: string, size: number, file: string): Promise<void> {
  const status = await new Promise<number>((resolve, reject) => {
    const outgoing = request({
      host: to.host,
      port: to.port,
      method: 'PUT',
      path,
      agent: false,
      headers: { 'content-type': 'application/octet-stream', 'content-length': size },
      signal: AbortSignal.timeout(uploadTimeoutMs),
    })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      incoming.resume()
      resolve(incoming.statusCode ?? 0)
    })
    createReadStream(file)
      .once('error', (error) => outgoing.destroy(error))
      .pipe(outgoing)
  })
  if (status !== 201) throw new Failure(`The registry refused a layer with status ${status}.`)
}

function expectStatus(answer: { status: number; body: string }, expected: number): void {
  if (answer.status !== expected)
    throw new Failure(
      `The registry answered ${answer.status} instead of ${expected}: ${answer.body.slice(0, 200)}`,
    )
}
