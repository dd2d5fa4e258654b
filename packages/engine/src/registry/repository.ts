import { createHash } from 'node:crypto'
import { EngineError } from '../engine-error.ts'
import { type RegistryAccess, registryOrigin } from './registry-access.ts'
import { answerChallenge, loginNeeded, parseChallenge } from './registry-login.ts'
import {
  askRegistry,
  discard,
  readAnswerBytes,
  type RegistryAnswer,
  registryFailure,
} from './registry-request.ts'

/** Without the four of them a registry answers with a manifest of schema 1, whose digest is another one. */
const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

const maxManifestBytes = 4 * 1024 * 1024
const blobStallMs = 60_000

export type ManifestBytes = { digest: string; bytes: Buffer }

/** One repository at one registry, with the login settled by the first question and kept for the next ones. */
export class Repository {
  readonly #access: RegistryAccess
  readonly #registry: string
  readonly #repository: string
  readonly #signal: AbortSignal | undefined
  #authorization: string | undefined

  constructor(access: RegistryAccess, registry: string, repository: string, signal?: AbortSignal) {
    this.#access = access
    this.#registry = registry
    this.#repository = repository
    this.#signal = signal
  }

  /** The digest of a tag: from the header where the registry sends it, else from the bytes themselves. */
  async digestOf(tag: string): Promise<string> {
    const answer = await this.#ask('HEAD', `manifests/${tag}`, { accept: manifestTypes })
    const digest = answer.headers['docker-content-digest']
    discard(answer)
    if (typeof digest === 'string' && /^sha256:[a-f0-9]{64}$/.test(digest)) return digest
    return (await this.manifest(tag)).digest
  }

  /** A manifest or index by tag or digest. `ImageCorrupt` when the bytes are not those of the digest. */
  async manifest(reference: string): Promise<ManifestBytes> {
    const answer = await this.#ask('GET', `manifests/${reference}`, { accept: manifestTypes })
    const bytes = await readAnswerBytes(answer, maxManifestBytes)
    const digest = sha256(bytes)
    if (reference.includes(':') && reference !== digest) throw corrupt(reference)
    return { digest, bytes }
  }

  /** A small blob as a whole, verified. */
  async blob(digest: string, maxBytes: number): Promise<Buffer> {
    const bytes = await readAnswerBytes(await this.#ask('GET', `blobs/${digest}`, {}), maxBytes)
    if (sha256(bytes) !== digest) throw corrupt(digest)
    return bytes
  }

  /** A blob in pieces. Throws after the last one when size or digest are not as announced, or when it stalls. */
  async *blobStream(digest: string, size: number): AsyncGenerator<Buffer> {
    const answer = await this.#ask('GET', `blobs/${digest}`, {}, blobStallMs)
    using deadline = answer.deadline
    const hash = createHash('sha256')
    let seen = 0
    try {
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        deadline.touch()
        seen += chunk.length
        if (seen > size) throw corrupt(digest)
        hash.update(chunk)
        yield chunk
      }
    } catch (error) {
      throw registryFailure(error, deadline)
    } finally {
      answer.body.destroy()
    }
    if (seen !== size || `sha256:${hash.digest('hex')}` !== digest) throw corrupt(digest)
  }

  async #ask(
    method: 'GET' | 'HEAD',
    path: string,
    headers: Record<string, string>,
    limitMs?: number,
  ): Promise<RegistryAnswer> {
    const url = new URL(`/v2/${this.#repository}/${path}`, registryOrigin(this.#registry))
    const ask = () =>
      askRegistry(this.#access, {
        url,
        method,
        headers: {
          ...headers,
          ...(this.#authorization === undefined ? {} : { authorization: this.#authorization }),
        },
        ...(limitMs === undefined ? {} : { limitMs }),
        ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      })
    let answer = await ask()
    if (answer.status === 401) {
      const challenge = parseChallenge(answer.headers['www-authenticate'])
      discard(answer)
      const auth = await this.#access.credentials(this.#registry)
      this.#authorization = await answerChallenge(
        this.#access,
        challenge,
        this.#repository,
        auth,
        this.#signal,
      )
      answer = await ask()
    }
    if (answer.status === 200) return answer
    discard(answer)
    throw this.#refusal(answer.status)
  }

  #refusal(status: number): EngineError {
    const name = `${this.#registry}/${this.#repository}`
    if (status === 401 || status === 403) return loginNeeded()
    if (status === 404 || status === 400)
      return new EngineError('ImageNotFound', `the registry does not know this image or tag of ${name}`)
    return new EngineError('RegistryUnreachable', `the registry answers ${status} for ${name}`)
  }
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function corrupt(digest: string): EngineError {
  return new EngineError('ImageCorrupt', `the registry's bytes are not those of ${digest}`)
}
