import { join } from 'node:path'
import { runFolderOf } from '../../infra/src/run-folder.ts'
import { berthEntry } from '../support/berth-entry.ts'
import { startEngines } from '../support/engines.ts'
import { freePorts } from '../support/free-ports.ts'
import { claimSlot, note } from '../support/slot.ts'

/*
 * How long the two commands take on this machine, with an engine of their own:
 *
 *   first up       a new data folder: database made, sample packed, pushed and deployed, until it answers
 *   second up      everything runs already
 *   down           every process ended, every container removed
 *   up after down  the same data again
 *
 * Debian packages and npm packages are those that the machine has: on a bare one their download comes before the
 * first up. `node test/bench/up.ts [rounds]`, 3 unless said; each round starts with a new data folder.
 */

const rounds = Number(process.argv[2] ?? 3)
const steps = ['first up', 'second up', 'down', 'up after down'] as const
const seconds = Object.fromEntries(steps.map((step) => [step, [] as number[]]))

const slot = await claimSlot()
const [engine] = await startEngines(slot, 1)
try {
  if (engine === undefined) throw new Error('no engine was started')
  for (let round = 0; round < rounds; round += 1) {
    const data = join(slot.folder, `up-${round}`)
    note(slot, 'processFiles', runFolderOf(data).processFile)
    const berth = berthEntry({
      data,
      ports: await freePorts(),
      engineSocket: engine.connection.socketPath,
      networkCidr: slot.networkCidr,
    })
    try {
      for (const step of steps) {
        const startedAt = performance.now()
        const { code, output } = await berth(step === 'down' ? 'down' : 'up')
        if (code !== 0) throw new Error(`${step} failed: ${output}`)
        seconds[step]?.push((performance.now() - startedAt) / 1000)
      }
    } finally {
      await berth('down')
    }
  }
} finally {
  await engine?.stop()
  await slot.release()
}

console.log(`| step          | seconds, ${rounds} rounds |`)
console.log('| ------------- | ------------------ |')
for (const step of steps)
  console.log(
    `| ${step.padEnd(13)} | ${(seconds[step] ?? [])
      .map((each) => each.toFixed(1))
      .join(', ')
      .padEnd(18)} |`,
  )
