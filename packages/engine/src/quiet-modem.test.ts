import { Agent } from 'node:http'
import { inspect } from 'node:util'
import Docker from 'dockerode'
import { expect, test } from 'vitest'
import { quieten } from './quiet-modem.ts'

test('a request is sent without a description of all that hangs on it', async () => {
  let descriptions = 0
  const agent = Object.assign(new Agent(), { [inspect.custom]: () => `description ${++descriptions}` })
  const options = { socketPath: '/nowhere/docker.sock', agent }
  const { modem } = new Docker(options)
  const ping = { path: '/_ping', method: 'GET', statusCodes: { 200: true } }
  const error = await new Promise<unknown>((resolve) => quieten(modem).dial(ping, resolve))
  expect(error).toMatchObject({ code: 'ENOENT' })
  expect(descriptions).toBe(0)
})
