import { expect, test } from 'vitest'
import { formatCpu, formatMemory } from './quantity.ts'

test.each([
  [512 * 1024 ** 2, '512Mi'],
  [2 * 1024 ** 3, '2Gi'],
  [1.5 * 1024 ** 3, '1536Mi'],
  [512 * 1024 ** 2 - 1, '511Mi'],
  [2048, '2Ki'],
  [1023, '0'],
  [-5 * 1024 ** 2, '0'],
])('%d bytes are shown as %s', (bytes, text) => {
  expect(formatMemory(bytes)).toBe(text)
})

test.each([
  [2000, '2'],
  [500, '500m'],
  [1500, '1500m'],
  [0, '0'],
  [-300, '0'],
])('%d thousandths of a core are shown as %s', (millis, text) => {
  expect(formatCpu(millis)).toBe(text)
})
