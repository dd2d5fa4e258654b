import { connect } from 'node:net'
import { host } from '../proxies/proxy.ts'
import { smallAnswer } from '../load/replay.ts'

/*
 * A program for the benchmark: opens kept connections, asks once on each and keeps them all. Says when
 * all are open. `node idle-clients.ts <port> <count>`.
 */

const [port, count] = process.argv.slice(2).map(Number)
const atOnce = 100
const addresses = 8
const request = `GET / HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`
const ending = smallAnswer.subarray(-9).toString('latin1')

let opened = 0
async function openMany(): Promise<void> {
  while (opened < (count ?? 0)) {
    opened += 1
    await open(opened)
  }
}

/**
 * Resolves with the answer; throws when the connection ends, then or ever. Several addresses, since one has some
 * 28,000 ports for all that run here.
 */
function open(number: number): Promise<void> {
  return new Promise((resolve) => {
    const localAddress = `127.0.1.${(number % addresses) + 1}`
    const socket = connect({ port: port ?? 0, host: '127.0.0.1', localAddress }, () => socket.write(request))
    let text = ''
    socket.once('close', () => {
      throw new Error(`connection ${number} was closed after: ${text}`)
    })
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (text.startsWith('HTTP/1.1 200 ') && text.endsWith(ending)) resolve()
    })
  })
}

await Promise.all(Array.from({ length: atOnce }, openMany))
console.log(`open: ${opened}`)
