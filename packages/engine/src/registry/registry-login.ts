import { z } from 'zod'
import type { RegistryAuth } from '../container-runtime.ts'
import { EngineError } from '../engine-error.ts'
import type { RegistryAccess } from './registry-access.ts'
import { askRegistry, readAnswerBytes } from './registry-request.ts'

const maxTokenBytes = 256 * 1024

const tokenAnswer = z.object({ token: z.string().optional(), access_token: z.string().optional() })

/** A `WWW-Authenticate` header taken apart; the scheme in lower case. */
export type Challenge = { scheme: string; parameters: ReadonlyMap<string, string> }

/** Undefined when the header is none or not understood. Only the first challenge counts. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  const scheme = /^\s*([A-Za-z]+)(?:\s+|$)/.exec(header ?? '')
  if (scheme === null || header === undefined) return undefined
  const parameters = new Map<string, string>()
  const pattern = /([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g
  for (const [, name = '', quoted, plain] of header.slice(scheme[0].length).matchAll(pattern))
    parameters.set(name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '')
  return { scheme: String(scheme[1]).toLowerCase(), parameters }
}

/**
 * The `Authorization` header that answers a challenge, asking the realm for a token where the registry wants one.
 * `RegistryAuthRequired` when there is no login, or the realm does not take it.
 */
export async function answerChallenge(
  access: RegistryAccess,
  challenge: Challenge | undefined,
  repository: string,
  auth: RegistryAuth | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (challenge?.scheme === 'basic' && auth !== undefined && 'username' in auth) return basic(auth)
  const realm = challenge?.parameters.get('realm')
  if (challenge?.scheme !== 'bearer' || realm === undefined || !URL.canParse(realm)) throw loginNeeded()
  const url = new URL(realm)
  const service = challenge.parameters.get('service')
  const question = { ...(service === undefined ? {} : { service }), scope: `repository:${repository}:pull` }
  const answer = await askRegistry(access, {
    ...tokenRequest(url, question, auth),
    ...(signal ? { signal } : {}),
  })
  const bytes = await readAnswerBytes(answer, maxTokenBytes)
  if (answer.status >= 500)
    throw new EngineError('RegistryUnreachable', `the registry's login answers ${answer.status}`)
  if (answer.status !== 200) throw loginNeeded()
  return `Bearer ${tokenOf(bytes)}`
}

/** An identity token is exchanged by POST (OAuth 2), a password goes along as Basic. */
function tokenRequest(url: URL, question: Record<string, string>, auth: RegistryAuth | undefined) {
  if (auth !== undefined && 'identityToken' in auth) {
    const form = {
      ...question,
      grant_type: 'refresh_token',
      refresh_token: auth.identityToken,
      client_id: 'berth',
    }
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return { url, method: 'POST', headers, body: new URLSearchParams(form).toString() } as const
  }
  for (const [name, value] of Object.entries(question)) url.searchParams.set(name, value)
  return { url, method: 'GET', headers: auth === undefined ? {} : { authorization: basic(auth) } } as const
}

function basic(auth: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`
}

function tokenOf(bytes: Buffer): string {
  try {
    const { token, access_token: other } = tokenAnswer.parse(JSON.parse(bytes.toString('utf8')))
    const found = token ?? other
    if (found !== undefined && /^[\x21-\x7e]+$/.test(found)) return found
  } catch {
    // Said below.
  }
  throw new EngineError('RegistryUnreachable', "the registry's login answers with no token")
}

export function loginNeeded(): EngineError {
  return new EngineError('RegistryAuthRequired', 'the registry asks for a login')
}
