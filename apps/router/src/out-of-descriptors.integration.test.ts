import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const script = fileURLToPath(new URL('testing/run-out-of-descriptors.ts', import.meta.url))

test('a router without a free descriptor blames no replica for it', async () => {
  const { stdout } = await promisify(execFile)('prlimit', ['--nofile=128', process.execPath, script])
  const { statuses, told } = JSON.parse(stdout) as { statuses: number[]; told: string[] }
  expect(statuses).toEqual([200, 502, 200])
  expect(told).not.toContain('replica-failed')
  expect(told).not.toContain('demand')
})
