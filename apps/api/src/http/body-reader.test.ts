import { expect, test } from 'vitest'
import { readJsonBody } from './body-reader.ts'

const headers = { 'content-type': 'application/json' }

function upload(chunks: string[], { ends }: { ends: boolean }): { request: Request; given: { up: boolean } } {
  const given = { up: false }
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk))
      if (ends) controller.close()
    },
    cancel() {
      given.up = true
    },
  })
  const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
  return { request: new Request('http://api/services', init), given }
}

test('a body that comes in pieces is read to its end', async () => {
  expect(await readJsonBody(upload(['{"a":', '1}'], { ends: true }).request)).toEqual({ a: 1 })
})

test('a body that never ends is given up at its deadline', async () => {
  const { request, given } = upload(['{"a":'], { ends: false })
  await expect(readJsonBody(request, 20)).rejects.toMatchObject({ code: 'request-incomplete' })
  expect(given.up).toBe(true)
})

test('nobody reads the rest of a body that is too long', async () => {
  const { request, given } = upload(['x'.repeat(1024 * 1024), 'y', 'z'], { ends: false })
  await expect(readJsonBody(request)).rejects.toMatchObject({ code: 'body-too-large' })
  expect(given.up).toBe(true)
})
