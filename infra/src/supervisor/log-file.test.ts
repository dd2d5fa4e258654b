import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lastLogLines, rotateLog, withLogDescriptor } from './log-file.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-log-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('a log that grew too long moves aside, and its writer goes on at the start of an empty one', () => {
  const path = join(folder, 'api.log')
  withLogDescriptor(path, (descriptor) => {
    writeSync(descriptor, 'x'.repeat(100))
    expect(rotateLog(path, 50)).toBe(true)
    writeSync(descriptor, 'after')
  })
  expect(readFileSync(path, 'utf8')).toBe('after')
  expect(readFileSync(`${path}.1`, 'utf8')).toHaveLength(100)
})

test('the oldest of the kept logs goes', () => {
  const path = join(folder, 'api.log')
  for (const content of ['first', 'second', 'third', 'fourth']) {
    writeFileSync(path, content)
    rotateLog(path, 1, 2)
  }
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('fourth')
  expect(readFileSync(`${path}.2`, 'utf8')).toBe('third')
  expect(() => readFileSync(`${path}.3`)).toThrow('ENOENT')
})

test('where a copy cannot be made, the log and the older ones stay as they are', () => {
  const path = join(folder, 'api.log')
  writeFileSync(path, 'new')
  writeFileSync(`${path}.1`, 'old')
  symlinkSync('/dev/full', `${path}.new`)
  expect(() => rotateLog(path, 1)).toThrow('copyfile')
  expect(readFileSync(path, 'utf8')).toBe('new')
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('old')
  expect(existsSync(`${path}.new`)).toBe(false)
})

test('a short log stays, and one that is missing is no error', async () => {
  const path = join(folder, 'api.log')
  writeFileSync(path, 'a\nb\nc\n')
  expect(rotateLog(path)).toBe(false)
  expect(await lastLogLines(path, 2)).toEqual(['b', 'c'])
  expect(rotateLog(join(folder, 'none.log'))).toBe(false)
})
