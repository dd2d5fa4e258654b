import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { WebSocket } from 'ws'
import { type EdgeAnswer } from '../support/edge.ts'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const service = 'cnf-traffic'
const [first, second, third] = [`${service}-00001`, `${service}-00002`, `${service}-00003`]

beforeAll(async () => {
  await platform.deploy(service, { env: { MESSAGE: 'blue' } })
  await platform.update(service, { env: { MESSAGE: 'green' } })
})
afterAll(() => platform.remove(service))

type Target = { revision: string; percent: number; tag?: string }

/** Splits the traffic and waits until the edge does what `served` looks for. */
async function split(targets: Target[], served: () => Promise<boolean>): Promise<void> {
  await platform.expectApi([200, 202], 'PUT', `/services/${service}/traffic`, targets)
  await until(served, { timeoutMs: 60_000, describe: `the traffic to be ${JSON.stringify(targets)}` })
}

const revisionOf = (answer: EdgeAnswer) => answer.json<{ revision: string }>().revision
const revisionAt = async (name: string) => {
  const answer = await platform.request(name)
  return answer.status === 200 ? revisionOf(answer) : undefined
}
const tagAnswers = (tag: string, revision: string) => async () =>
  (await revisionAt(`${tag}---${service}`)) === revision

/** How many of `requests`, 20 at a time, each revision answered. */
async function count(name: string, requests: number): Promise<Record<string, number>> {
  const seen: Record<string, number> = {}
  const ask = async () => {
    for (let index = 0; index < requests / 20; index += 1) {
      const revision = revisionOf(await platform.request(name))
      seen[revision] = (seen[revision] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: 20 }, ask))
  return seen
}

const allGoesTo = (revision: string) => async () => (await count(service, 20))[revision] === 20

/** Connects a WebSocket, and answers with the revision that took it. */
async function connectSocket(): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${platform.connection.ports.edge}/`, {
    headers: { host: platform.host(service) },
  })
  const opened = new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  const taken = new Promise<string>((resolve) =>
    socket.once('upgrade', ({ headers }) => resolve(String(headers['x-revision']))),
  )
  await opened
  socket.close()
  return await taken
}

describe('a tag at 0 %', () => {
  test('has a URL of its own that answers, while the service itself never goes there', async () => {
    const targets = [
      { revision: first, percent: 100, tag: 'blue' },
      { revision: 'latest', percent: 0, tag: 'green' },
    ]
    await split(targets, tagAnswers('green', second))
    expect(await count(service, 100)).toEqual({ [first]: 100 })
    const { traffic } = (await platform.service(service)).status
    expect(traffic.map(({ tag, url }) => [tag, url])).toEqual([
      ['blue', `http://${platform.host(`blue---${service}`)}`],
      ['green', `http://${platform.host(`green---${service}`)}`],
    ])
  })
})

describe('a blue-green split', () => {
  test('sends half to each revision, and each tag to its own revision only', async () => {
    const targets = [
      { revision: first, percent: 50, tag: 'blue' },
      { revision: second, percent: 50, tag: 'green' },
    ]
    await split(targets, async () => (await revisionAt(service)) === second)
    const seen = await count(service, 600)
    // 600 fair coins leave 225..375 once in 10^9 runs.
    expect(seen[first]).toBeGreaterThan(225)
    expect(seen[second]).toBeGreaterThan(225)
    expect(await count(`blue---${service}`, 40)).toEqual({ [first]: 40 })
    expect(await count(`green---${service}`, 40)).toEqual({ [second]: 40 })
  })

  test('is made for each WebSocket anew', async () => {
    const revisions = await Promise.all(Array.from({ length: 40 }, connectSocket))
    expect(new Set(revisions)).toEqual(new Set([first, second]))
  })
})

describe('a new revision', () => {
  test('gets the share of latest, while a pin stays where it is and the tag of latest moves on', async () => {
    const targets = [
      { revision: first, percent: 50 },
      { revision: 'latest', percent: 50, tag: 'newest' },
    ]
    await split(targets, tagAnswers('newest', second))
    const { revision } = await platform.update(service, { env: { MESSAGE: 'red' } })
    expect(revision).toBe(third)
    await until(tagAnswers('newest', third), { describe: 'the tag of latest to answer with the third' })
    const seen = await count(service, 100)
    expect(new Set(Object.keys(seen))).toEqual(new Set([first, third]))
  })

  test('is rolled back by name under traffic without losing a request', async () => {
    await split([{ revision: 'latest', percent: 100 }], allGoesTo(third))
    const load = startLoad(() => platform.request(service))
    await platform.expectApi([200, 202], 'POST', `/services/${service}/rollback`, { revision: first })
    await until(allGoesTo(first), { timeoutMs: 60_000, describe: 'the first revision to serve alone' })
    const after = await count(service, 100)
    expect((await load.stop()).failures).toEqual([])
    expect(after).toEqual({ [first]: 100 })
    const { body } = await platform.expectApi([200], 'GET', `/services/${service}`)
    expect(body).toMatchObject({ pinnedRevision: first })
  })
})

describe('what cannot be is refused, and the traffic stays as it was', () => {
  test.each([
    ['that does not sum to 100', [{ revision: first, percent: 50 }]],
    ['to a revision that does not exist', [{ revision: `${service}-00099`, percent: 100 }]],
    [
      'with a tag twice',
      [
        { revision: first, percent: 50, tag: 'same' },
        { revision: second, percent: 50, tag: 'same' },
      ],
    ],
  ])('a split %s', async (_why, targets) => {
    const before = (await platform.service(service)).status.traffic
    const { status } = await platform.api('PUT', `/services/${service}/traffic`, targets)
    expect([409, 422]).toContain(status)
    expect((await platform.service(service)).status.traffic).toEqual(before)
  })

  test('a rollback to a revision that does not exist', async () => {
    const body = { revision: `${service}-00099` }
    const { status } = await platform.api('POST', `/services/${service}/rollback`, body)
    expect([404, 409, 422]).toContain(status)
    expect(await revisionAt(service)).toBe(first)
  })
})
