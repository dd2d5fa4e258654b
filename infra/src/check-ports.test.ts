import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { checkPorts, portProblem } from './check-ports.ts'
import { parseSettings } from './settings.ts'

test('says which port, who has it, and which variable moves it', () => {
  expect(portProblem('edge', 8080, 'nginx (pid 812)')).toBe(
    'Port 8080 for the services is taken by nginx (pid 812); stop it, or set BERTH_EDGE_PORT to another port.',
  )
  expect(portProblem('registry', 5050, undefined)).toContain('taken by another program')
})

test('a port that somebody listens on is found', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? String(address.port) : ''
  try {
    await expect(checkPorts(parseSettings({ BERTH_API_PORT: port }, '/b', '/'))).rejects.toThrow(
      new RegExp(`Port ${port} for the API is taken by .* \\(pid ${process.pid}\\)`),
    )
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})
