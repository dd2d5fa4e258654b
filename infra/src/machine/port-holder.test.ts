import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { portState, listeningInodes, portHolder } from './port-holder.ts'

test('finds the sockets that listen on a port and leaves out connections to it', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0',
    '   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0',
    '   2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0',
  ].join('\n')
  expect(listeningInodes(table, 8080)).toEqual(['socket:[4711]'])
})

test('names the process that holds a port', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  try {
    expect(await portState(port, '127.0.0.1')).toBe('taken')
    expect(await portState(port, '::1')).toBe('free')
    expect(portHolder(port)).toContain(`(pid ${process.pid})`)
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})
