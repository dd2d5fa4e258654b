import { createServer } from 'node:net'

/*
 * The app behind every proxy of the benchmark: answers each request on a kept connection with the same bytes. It is
 * cheaper than any of them, so that it is never what is waited for. Prints its port.
 */

const answer = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello')

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  // Requests have no body and come one at a time, each in one piece.
  socket.on('data', () => socket.write(answer))
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.stdout.write(`${address !== null && typeof address === 'object' ? address.port : 0}\n`)
})
