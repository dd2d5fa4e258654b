import { expect, test } from 'vitest'
import { parseCommand } from './command-line.ts'

test.each([
  [[], { kind: 'help' }],
  [['up'], { kind: 'up', foreground: false }],
  [['up', '--foreground'], { kind: 'up', foreground: true }],
  [['down'], { kind: 'down' }],
  [['status', '--json'], { kind: 'status', json: true }],
  [['restart', 'router'], { kind: 'restart', process: 'router' }],
  [['backup', '/mnt/copies'], { kind: 'backup', folder: '/mnt/copies' }],
  [['restore', 'berth.dump'], { kind: 'restore', file: 'berth.dump' }],
  [
    ['image', 'push', 'samples/hello', 'r/h:1'],
    { kind: 'image-push', folder: 'samples/hello', reference: 'r/h:1' },
  ],
  [['image', 'build', 'a', 'a.tar'], { kind: 'image-build', folder: 'a', output: 'a.tar' }],
  [['test', '--fast'], { kind: 'test', fast: true }],
])('%j', (words, command) => {
  expect(parseCommand(words)).toEqual(command)
})

test.each([
  [['fly'], 'There is no command "fly"'],
  [['up', '--fast'], './berth up does not know "--fast"'],
  [['down', 'now'], './berth down does not know "now"'],
  [['restart'], 'Say ./berth restart <process>'],
  [['backup'], 'Say ./berth backup <folder>'],
  [['image', 'pull'], 'Say ./berth image build'],
  [['image', 'push', 'a'], 'Say ./berth image push <folder> <reference>'],
])('%j is refused', (words, message) => {
  expect(() => parseCommand(words)).toThrow(message)
})
