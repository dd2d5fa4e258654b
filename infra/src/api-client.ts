import { Failure, messageOf } from './failure.ts'
import { callHttp } from './http-call.ts'

export type ApiAnswer = { status: number; body: unknown }

/** Berth's own API with the first token, as `up` uses it. An API that does not answer is a Failure. */
export type ApiClient = {
  call: (method: string, path: string, body?: unknown) => Promise<ApiAnswer>
  /** Like `call`, but anything else than one of `expected` is a Failure that quotes the problem. */
  expect: (expected: readonly number[], method: string, path: string, body?: unknown) => Promise<ApiAnswer>
}

export function apiClient(port: number, token: string): ApiClient {
  const call = async (method: string, path: string, body?: unknown): Promise<ApiAnswer> => {
    const answer = await callHttp({
      target: { port },
      method,
      path,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeoutMs: 30_000,
    }).catch((error: unknown) => {
      const why = `${method} ${path}: ${messageOf(error)}`
      throw new Failure(`The API on port ${port} does not answer (${why}); ./berth status tells more.`, {
        cause: error,
      })
    })
    return { status: answer.status, body: parseBody(answer.body) }
  }
  return {
    call,
    async expect(expected, method, path, body) {
      const answer = await call(method, path, body)
      if (expected.includes(answer.status)) return answer
      const detail = (answer.body as { detail?: string; title?: string } | undefined) ?? {}
      throw new Failure(
        `The API answered ${answer.status} to ${method} ${path}: ${detail.detail ?? detail.title ?? 'no detail'}`,
      )
    },
  }
}

/** JSON, or the text itself where something else than the API answers on its port. */
function parseBody(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
