import { expect, test } from 'vitest'
import { nodeSpec } from './node.ts'

test.each([
  ['10.0.0.2', true],
  ['fd00::2', true],
  ['fd00::2%eth0', false],
  ['[fd00::2]', false],
  ['n2.example', false],
])('a node at address %s is accepted: %s', (address, accepted) => {
  const node = { name: 'n2', endpoint: 'unix:///run/docker.sock', address }
  expect(nodeSpec.safeParse(node).success).toBe(accepted)
})
