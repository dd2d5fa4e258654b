import { errorCatalogue, reasonCatalogue } from '@berth/contracts'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const text = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')

function rowsBelow(heading: string): string[][] {
  const section = text.split(/^## /m).find((part) => part.startsWith(heading)) ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  )
}

test('the page of errors lists exactly the codes of the catalogue', () => {
  const expected = Object.entries(errorCatalogue).map(([code, { status, title, retryable }]) => [
    code,
    String(status),
    title,
    retryable ? 'yes' : 'no',
  ])
  expect(rowsBelow('Codes')).toEqual(expected)
})

test('the page of errors lists exactly the reasons of the catalogue', () => {
  const expected = Object.entries(reasonCatalogue).map(([reason, { terminal, meaning }]) => [
    reason,
    meaning,
    terminal ? 'ends it' : 'tried again',
  ])
  expect(rowsBelow('Reasons')).toEqual(expected)
})
