import { afterAll, expect, inject, test } from 'vitest'
import { connectPlatform, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const name = 'rev-named'

afterAll(() => platform.remove(name))

type Echo = { message: string; revision: string; headers: Record<string, string> }
const echo = async (headers: Record<string, string> = {}) => {
  const answer = await platform.request(name, { headers })
  return { ...answer.json<Echo>(), setCookie: answer.headers['set-cookie'] }
}

test('revisions come and go by the names that their user gave them', async () => {
  const first = await platform.deploy(name, { revisionSuffix: 'blue', env: { MESSAGE: 'one' } })
  expect(first).toMatchObject({ phase: 'succeeded', revision: 'rev-named-blue' })
  const { body } = await platform.expectApi([202], 'PATCH', `/services/${name}`, {
    env: { MESSAGE: 'two' },
    revisionSuffix: 'green',
  })
  const second = await platform.waitForDeployment((body as ServiceBody).deployment?.id ?? '')
  expect(second).toMatchObject({ phase: 'succeeded', revision: 'rev-named-green' })
  expect(await echo()).toMatchObject({ message: 'two', revision: 'rev-named-green' })
  await platform.expectApi([202], 'POST', `/services/${name}/rollback`, { revision: 'rev-named-blue' })
  await until(async () => (await echo()).revision === 'rev-named-blue', {
    timeoutMs: 60_000,
    describe: 'the first revision to serve again',
  })
  await platform.expectApi([409], 'PATCH', `/services/${name}`, {
    env: { MESSAGE: 'three' },
    revisionSuffix: 'blue',
  })
})

test('a client with the cookie stays with its revision in a split, and the app never sees it', async () => {
  await platform.expectApi([202], 'PATCH', `/services/${name}`, { sessionAffinity: 'cookie' })
  await platform.expectApi([202], 'PUT', `/services/${name}/traffic`, [
    { revision: 'rev-named-blue', percent: 60 },
    { revision: 'rev-named-green', percent: 40 },
  ])
  const given = await until(
    async () => {
      const { revision, setCookie } = await echo()
      return revision === 'rev-named-green' && setCookie?.[0] !== undefined && setCookie[0]
    },
    { timeoutMs: 60_000, describe: 'a client to be given the second revision' },
  )
  const cookie = given.split(';', 1)[0] ?? ''
  for (let again = 0; again < 30; again += 1) {
    const answer = await echo({ cookie: `own=1; ${cookie}` })
    expect(answer).toMatchObject({ revision: 'rev-named-green', headers: { cookie: 'own=1' } })
    expect(answer.setCookie).toBeUndefined()
  }
})
