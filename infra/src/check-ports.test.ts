import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { checkPorts, takenPort } from './check-ports.ts'
import { parseSettings } from './settings.ts'

test('says which port, who has it, and which variable moves it', () => {
  expect(takenPort('edge', 8080, 'nginx (pid 812)')).toBe(
    'Port 8080 for the services is taken by nginx (pid 812); stop it, or set BERTH_EDGE_PORT to another port.',
  )
  expect(takenPort('registry', 5050, undefined)).toContain('taken by another program')
})

test('an address that the machine does not have is named', async () => {
  const settings = parseSettings({ BERTH_EDGE_ADDRESSES: '203.0.113.1' }, '/b', '/')
  await expect(checkPorts(settings)).rejects.toThrow('BERTH_EDGE_ADDRESSES has 203.0.113.1')
})

test.each([
  ['127.0.0.1', 'BERTH_API_PORT', 'the API'],
  ['127.0.0.1', 'BERTH_EDGE_PORT', 'the services'],
  ['::1', 'BERTH_EDGE_PORT', 'the services'],
])('a port that somebody listens on at %s is found for %s', async (host, variable, purpose) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? String(address.port) : ''
  try {
    await expect(checkPorts(parseSettings({ [variable]: port }, '/b', '/'))).rejects.toThrow(
      new RegExp(`Port ${port} for ${purpose} is taken by .* \\(pid ${process.pid}\\)`),
    )
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})
