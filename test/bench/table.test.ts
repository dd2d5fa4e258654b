import { expect, test } from 'vitest'
import { tableLines } from './table.ts'

test('columns are as wide as their widest cell, and figures stand to the right', () => {
  expect(
    tableLines(
      ['proxy', 'us'],
      [
        ['nginx', '1.5'],
        ['Berth, no log', '12.25'],
      ],
    ),
  ).toEqual([
    '| proxy         |    us |',
    '| ------------- | ----: |',
    '| nginx         |   1.5 |',
    '| Berth, no log | 12.25 |',
  ])
})
