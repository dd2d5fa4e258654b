import { Failure } from './failure.ts'
import { callHttp } from './http-call.ts'

export type ApiAnswer = { status: number; body: unknown }

/** Berth's own API with the first token, as `up` uses it. */
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
    })
    return { status: answer.status, body: answer.body === '' ? undefined : JSON.parse(answer.body) }
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
