import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

/** [what is broken, SQL that breaks it, request that meets it] */
const faults: [string, string, string, string, unknown?][] = [
  ['a table is missing', 'drop table registries', 'GET', '/registries'],
  ['a column is missing', 'alter table pools drop column labels', 'GET', '/pools'],
  [
    'a row does not fit',
    "alter table projects add check (name <> 'acme')",
    'POST',
    '/projects',
    { name: 'acme' },
  ],
  ['a secret does not open', `update services set env = '\\x0102'`, 'GET', '/services/hello'],
]

test.each(faults)(
  'when %s the answer is a bare 500, and the log has the rest',
  async (_what, sql, method, path, body) => {
    await api.call('POST', '/services', { body: { name: 'hello', image: 'hello', env: { A: 'canary' } } })
    await api.db.execute(sql)
    const answer = await api.call(method, path, body === undefined ? {} : { body })
    expect(answer.status).toBe(500)
    const { requestId, ...problem } = answer.json<{ requestId: string }>()
    expect(problem).toEqual({
      type: 'urn:berth:error:internal',
      title: 'Something failed inside Berth',
      status: 500,
      code: 'internal',
      detail: 'Something failed inside Berth; its log has the request id.',
    })
    const failure = api.log.find((line) => line.includes(requestId) && line.includes('"failed"'))
    expect(failure).toContain('"stack":')
    expect(failure).not.toMatch(/canary|select |insert into/i)
  },
)
