import { expect, test } from 'vitest'
import { parseDisk } from './sandbox-reads.ts'

const heading = 'Filesystem           1024-blocks    Used Available Capacity Mounted on\n'

test('of the blocks of a disk those count that are used or available', () => {
  expect(parseDisk(`${heading}overlay              264212084 25074064  81316848  24% /\n`)).toEqual({
    totalBytes: (25_074_064 + 81_316_848) * 1024,
    freeBytes: 81_316_848 * 1024,
  })
})

test.each([
  '',
  heading,
  `${heading}overlay 1 2 3 4% /data\n`,
  'df: /proc/mounts: No such file or directory\n',
])('nothing is made of %j', (text) => {
  expect(parseDisk(text)).toBeUndefined()
})
