import { connect, type Socket } from 'node:net'

const request =
  'GET /hello?a=b HTTP/1.1\r\nHost: hello.localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n'

/** Keeps `connections` busy with one request each until `ms` have passed; resolves with the number of answers. */
export async function askFor(ms: number, port: number, connections: number): Promise<number> {
  const until = performance.now() + ms
  const lanes = Array.from({ length: connections }, () => lane(port, until))
  return (await Promise.all(lanes)).reduce((sum, answers) => sum + answers, 0)
}

function lane(port: number, until: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let answers = 0
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(request))
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('the connection was closed')))
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (!text.endsWith('hello')) return
      if (!text.startsWith('HTTP/1.1 200 ')) return reject(new Error(`answered ${text.slice(0, 200)}`))
      text = ''
      answers += 1
      if (performance.now() < until) return void socket.write(request)
      socket.removeAllListeners('close')
      socket.destroy()
      resolve(answers)
    })
  })
}
