import { berthLabels, type ContainerStatus, type ContainerSummary } from '@berth/engine'
import { expect, test } from 'vitest'
import { awaitVolumesFree } from './volumes.ts'

function aUser(state: ContainerStatus, role: string): ContainerSummary {
  const labels = { [berthLabels.role]: role }
  return { id: 'other', name: `the-${role}`, state, labels, createdAt: 0, image: '', address: null }
}

/** How often the engine is asked until a volume is free; its users are those of each answer in turn. */
async function looksUntilFree(...answers: ContainerSummary[][]): Promise<number> {
  let looks = 0
  const volumeUsers = async () => answers[looks++] ?? []
  await awaitVolumesFree({ runtime: { volumeUsers } }, [{ name: 'v' }], 'own')
  return looks
}

test('a volume is waited for while another app runs or is frozen', async () => {
  expect(await looksUntilFree([aUser('running', 'app')], [aUser('paused', 'app')])).toBe(3)
})

test('a volume is not waited for after an app has ended, nor while its content is counted', async () => {
  expect(await looksUntilFree([aUser('exited', 'app')])).toBe(1)
  expect(await looksUntilFree([aUser('running', 'volume-helper')])).toBe(1)
})
