import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually } from '../testing/edge.ts'
import { LogWriter } from './log-writer.ts'

let folder = ''
const open: number[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-log-'))
})
afterEach(() => {
  for (const fd of open.splice(0)) closeSync(fd)
  rmSync(folder, { recursive: true })
})

/** A pipe whose writing end says at once that it is full, as it waits without blocking a thread of the test. */
function aPipe() {
  const path = join(folder, 'pipe')
  execFileSync('mkfifo', [path])
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writing = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  open.push(reading, writing)
  const buffer = Buffer.alloc(1024 * 1024)
  const read = (): string => {
    try {
      return buffer.toString('utf8', 0, readSync(reading, buffer))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return ''
      throw error
    }
  }
  return { writing, read }
}

test('lines arrive whole and in their order, whatever they are made of', async () => {
  const path = join(folder, 'log')
  const fd = openSync(path, 'a')
  open.push(fd)
  const writer = new LogWriter(fd)
  const lines = Array.from({ length: 5000 }, (_, index) => `${index} ${'\u00e4\u20ac'.repeat(index % 60)}\n`)
  lines.splice(100, 0, `${'long \u20ac'.repeat(50_000)}\n`)
  for (const line of lines) writer.write(line)
  expect(await writer.flushed(20_000)).toBe(true)
  expect(readFileSync(path, 'utf8')).toBe(lines.join(''))
  expect(writer.droppedLines).toBe(0)
})

test('while the reader stands still lines are kept up to a limit, and what is dropped is counted', async () => {
  const { writing, read } = aPipe()
  const writer = new LogWriter(writing)
  const line = (index: number) => `${String(index).padStart(1023, '0')}\n`
  const count = 8192
  for (let index = 0; index < count; index += 1) writer.write(line(index))
  expect(await writer.flushed(200)).toBe(false)
  const kept = count - writer.droppedLines
  expect(kept).toBeGreaterThan(4000)
  expect(kept).toBeLessThan(4300)

  let text = ''
  await eventually(() => {
    text += read()
    return text.length >= kept * 1024
  })
  expect(text).toBe(Array.from({ length: kept }, (_, index) => line(index)).join(''))

  writer.write('after\n')
  expect(await writer.flushed(20_000)).toBe(true)
  expect(read()).toBe('after\n')
  expect(writer.droppedLines).toBe(count - kept)
})

test('lines that cannot be written at all are counted as dropped', async () => {
  const fd = openSync('/dev/full', 'a')
  open.push(fd)
  const writer = new LogWriter(fd)
  for (let index = 0; index < 3; index += 1) writer.write('a line\n')
  expect(await writer.flushed(20_000)).toBe(true)
  expect(writer.droppedLines).toBe(3)
})
