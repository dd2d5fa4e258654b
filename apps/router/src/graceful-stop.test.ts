import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Connections } from './connections.ts'
import type { Exchange } from './exchange/exchange.ts'
import { stopServing } from './graceful-stop.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('WebSockets are asked to close after a minute, and what is left at the end is broken off', async () => {
  const exchange = { askTunnelToClose: vi.fn(), breakOff: vi.fn() }
  const connections = new Connections()
  connections.begin(exchange as unknown as Exchange)
  const onLastRequest = vi.fn()
  const stopped = stopServing({ servers: [], connections, drainMs: 90_000, onLastRequest })
  await vi.advanceTimersByTimeAsync(59_000)
  expect(onLastRequest).toHaveBeenCalledTimes(1)
  expect(exchange.askTunnelToClose).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(2000)
  expect(exchange.askTunnelToClose).toHaveBeenCalled()
  expect(exchange.breakOff).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(30_000)
  expect(await stopped).toBe(1)
  expect(exchange.breakOff).toHaveBeenCalledTimes(1)
})
