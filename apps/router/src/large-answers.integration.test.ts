import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { startApp, startEdge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

/** No two pieces of it are the same, so that one in the place of another is noticed. */
function content(seed: number): Buffer {
  const words = new Uint32Array(1024 * 1024)
  for (let i = 0; i < words.length; i += 1) words[i] = i * 2_654_435_761 + seed
  return Buffer.from(words.buffer)
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

test.each(['length', 'chunks'])(
  'answers of 4 MB by %s come whole to clients that read fast, slowly and in fits, all at once',
  async (framing) => {
    const bodies = [1, 2, 3, 4, 5, 6].map(content)
    const app = await startApp((asked, response) => {
      const body = bodies[Number(asked.url?.slice(1))] ?? Buffer.alloc(0)
      if (framing === 'length') response.setHeader('content-length', body.length)
      response.end(body)
    })
    endings.push(() => app.close())
    const edge = await startEdge({ revisions: [aRevision({ replicas: [aReplica('r1', app.port)] })] })
    endings.push(() => edge.close())
    const download = async (index: number): Promise<string> => {
      const headers = { host: 'hello.localhost' }
      const asked = request({ port: edge.port, path: `/${index}`, agent: false, headers }).end()
      const [answer] = (await once(asked, 'response')) as [IncomingMessage]
      const hash = createHash('sha256')
      for await (const chunk of answer) {
        hash.update(chunk as Buffer)
        if (index % 3 === 1) await new Promise((resolve) => setTimeout(resolve, 2))
        if (index % 3 === 2 && Math.random() < 0.1) await new Promise((resolve) => setTimeout(resolve, 30))
      }
      return hash.digest('hex')
    }
    expect(await Promise.all(bodies.map((_, index) => download(index)))).toEqual(bodies.map(sha))
  },
)
