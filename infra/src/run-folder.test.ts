import { expect, test } from 'vitest'
import { runFolderAt, runFolderPath } from './run-folder.ts'

test('a short data folder holds its own sockets', () => {
  expect(runFolderPath('/home/ada/berth/.berth', false, 1000)).toBe('/home/ada/berth/.berth/run')
})

test('a long one gets a short run folder of the user, the same each time', () => {
  const long = `/home/ada/${'deep/'.repeat(20)}.berth`
  const path = runFolderPath(long, false, 1000)
  expect(path).toMatch(/^\/tmp\/berth-1000-[0-9a-f]{12}$/)
  expect(runFolderPath(long, false, 1000)).toBe(path)
  expect(runFolderPath(`${long}2`, false, 1000)).not.toBe(path)
})

test('root keeps sockets where other users can reach them', () => {
  expect(runFolderPath('/srv/berth/.berth', true, 0)).toMatch(/^\/run\/berth-[0-9a-f]{12}$/)
})

test('every socket path fits in 107 bytes below the longest folder that is accepted', () => {
  const folder = runFolderPath(`/${'x'.repeat(73)}/.berth`, false, 1000)
  const run = runFolderAt(folder)
  const sockets = [run.supervisorSocket, run.hubSocket, run.controlSocket, run.redisSocket]
  for (const socket of [...sockets, `${run.postgres}/.s.PGSQL.5432`])
    expect(Buffer.byteLength(socket)).toBeLessThanOrEqual(107)
})
