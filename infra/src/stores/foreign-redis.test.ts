import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { checkForeignRedis, readPolicy } from './foreign-redis.ts'

const policyAnswer = (policy: string) =>
  `*2\r\n$16\r\nmaxmemory-policy\r\n$${policy.length}\r\n${policy}\r\n+OK\r\n`

/** A server that says `answer` to whatever comes, and hangs up. */
async function serving(answer: string, use: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((socket) => socket.once('data', () => socket.end(answer)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  try {
    await use(`redis://127.0.0.1:${port}`)
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
}

test('a Redis that forgets keys is refused', async () => {
  await serving(policyAnswer('allkeys-lru'), async (url) => {
    await expect(checkForeignRedis(url)).rejects.toThrow(
      'has maxmemory-policy allkeys-lru; Berth needs noeviction',
    )
  })
})

test('one that keeps them is fine, and so is one that does not tell', async () => {
  await serving(policyAnswer('noeviction'), (url) => checkForeignRedis(url))
  await serving('-ERR unknown command\r\n', (url) => checkForeignRedis(url))
})

test.each(['6.0.16', '5.0.3'])('version %s is too old', async (version) => {
  await serving(
    `$22\r\n# Server\r\nredis_version:${version}\r\n${policyAnswer('noeviction')}`,
    async (url) => {
      await expect(checkForeignRedis(url)).rejects.toThrow(/is version \d\.0; Berth needs 6\.2 or newer/)
    },
  )
})

test.each(['6.2.0', '7.0.15', '10.0.1'])('version %s is new enough', async (version) => {
  await serving(`$22\r\nredis_version:${version}\r\n${policyAnswer('noeviction')}`, (url) =>
    checkForeignRedis(url),
  )
})

test('a refused login and a dead address say so', async () => {
  expect(() => readPolicy('-WRONGPASS invalid username-password pair\r\n')).toThrow('WRONGPASS')
  await expect(checkForeignRedis('redis://127.0.0.1:1')).rejects.toThrow('REDIS_URL does not answer')
})
