import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseCommand } from './command-line.ts'

const folder = join(import.meta.dirname, '../systemd')
const units = readdirSync(folder).map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }))

const berthCommands = units.flatMap(({ name, text }) =>
  [...text.matchAll(/^Exec\w+=\/opt\/berth\/berth (.*)$/gm)].map(([, words = '']) => ({ name, words })),
)

test.each(berthCommands)('$name: there is a command "./berth $words"', ({ words }) => {
  expect(parseCommand(words.split(' ')).kind).not.toBe('help')
})

test('every unit that runs Berth says so and reads the same settings', () => {
  expect(berthCommands.map(({ words }) => words)).toEqual(['backup /var/backups/berth', 'up --foreground'])
  for (const { name } of berthCommands) {
    const text = units.find((unit) => unit.name === name)?.text
    expect(text).toContain('Environment=BERTH_DATA=/var/lib/berth\nEnvironmentFile=-/etc/berth.env\n')
  }
})
