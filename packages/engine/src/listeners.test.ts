import { describe, expect, test } from 'vitest'
import { listensBeyondLoopback, parseListeners } from './listeners.ts'

const header =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const rest = '00000000:00000000 00:00000000 00000000     0        0 20931 1 0000000000000000 100 0 0 10 0\n'
const v4 = (local: string, state = '0A') => `   0: ${local} 00000000:0000 ${state} ${rest}`
const v6 = (local: string) => `   1: ${local} 00000000000000000000000000000000:0000 0A ${rest}`

describe('the socket tables', () => {
  test.each([
    [v4('00000000:1F90'), { address: '0.0.0.0', port: 8080 }],
    [v4('0100007F:0050'), { address: '127.0.0.1', port: 80 }],
    [v4('0B00007F:AEE9'), { address: '127.0.0.11', port: 44_777 }],
    [v6('00000000000000000000000000000000:1F90'), { address: '::', port: 8080 }],
    [v6('00000000000000000000000001000000:1F90'), { address: '::1', port: 8080 }],
    [v6('0000000000000000FFFF00000100007F:1F90'), { address: '127.0.0.1', port: 8080 }],
    [v6('B80D01200000000000000000010000FF:1F90'), { address: '2001:db8::ff00:1', port: 8080 }],
  ])('%s', (line, listener) => {
    expect(parseListeners(header + line)).toEqual([listener])
  })

  test('of connections that are not listening give nothing', () => {
    expect(parseListeners(header + v4('00000000:1F90', '01') + v4('00000000:1F91', '06'))).toEqual([])
  })

  test('may be two files one after the other, with double entries', () => {
    const text = header + v4('00000000:1F90') + v4('00000000:1F90') + header + v6(`${'0'.repeat(32)}:1F90`)
    expect(parseListeners(text)).toHaveLength(2)
  })

  test('that are no tables give nothing', () => {
    expect(parseListeners('cat: can not open /proc/net/tcp6\n\n')).toEqual([])
  })
})

describe('an app', () => {
  test('on loopback only is not reached through the bridge', () => {
    expect(listensBeyondLoopback([{ address: '127.0.0.1', port: 80 }], 80)).toBe(false)
    expect(listensBeyondLoopback([{ address: '::1', port: 80 }], 80)).toBe(false)
    expect(listensBeyondLoopback([{ address: '0.0.0.0', port: 81 }], 80)).toBe(false)
    expect(listensBeyondLoopback([{ address: '::', port: 80 }], 80)).toBe(true)
  })
})
