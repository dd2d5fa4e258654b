import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { resolve } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { until } from '../support/poll.ts'
import { readRules } from '../support/partition-rules.ts'
import { openPartition } from '../support/partition.ts'

/** No engine of any slot publishes here. */
const address = '127.99.0.1'
const mark = `berth-chaos-test-${process.pid}`
const server = createServer((socket) => socket.end())

afterEach(() => server.close())

async function listen(): Promise<number> {
  server.listen(0, address)
  await once(server, 'listening')
  const bound = server.address()
  return typeof bound === 'object' && bound !== null ? bound.port : 0
}

/** True when a connection comes about within a second: a host that is gone does not even refuse. */
function isReachable(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host: address, port, timeout: 1000 })
    const end = (reached: boolean) => {
      socket.destroy()
      done(reached)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })
}

test('an address that is cut off answers nothing until it is mended', async () => {
  const port = await listen()
  const partition = openPartition(mark)
  expect(await isReachable(port)).toBe(true)
  await partition.cut(address)
  expect(await isReachable(port)).toBe(false)
  await partition.mend(address)
  expect(await isReachable(port)).toBe(true)
  await partition.close()
})

test('only addresses of the loopback network can be cut off', async () => {
  const partition = openPartition(mark)
  await expect(partition.cut('10.0.0.1')).rejects.toThrow('only loopback addresses')
  await partition.close()
})

test('a suite that is killed leaves no rule behind', async () => {
  const child = fork(resolve(import.meta.dirname, '../support/testing/cut-and-wait.ts'), [mark, address], {
    execArgv: [],
  })
  await once(child, 'message')
  expect(await readRules(mark)).toHaveLength(2)
  child.kill('SIGKILL')
  await until(async () => (await readRules(mark)).length === 0, { describe: 'the rules to be gone' })
})
