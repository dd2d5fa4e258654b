import { basename, join, resolve } from 'node:path'
import { backup, restore } from './backup.ts'
import { type Command, parseCommand, usage } from './command-line.ts'
import { checkOwner } from './data-folder.ts'
import { Failure } from './failure.ts'
import { writeArchive } from './image/archive.ts'
import { type BuiltImage, buildNodeImage } from './image/node-image.ts'
import { parsePushTarget, pushImage } from './image/push.ts'
import { runFolderOf } from './run-folder.ts'
import { imageCache } from './sample.ts'
import { say } from './say.ts'
import { parseSettings, type Settings } from './settings.ts'
import { status } from './status.ts'
import { askRestart } from './supervisor/control-client.ts'
import { runTests } from './test-command/run-tests.ts'
import { up } from './up.ts'

/*
 * `./berth <command>`. What the user can put right is told in one sentence and ends with exit code 1; anything
 * else is a fault of Berth and shows its stack.
 */

async function run(command: Command, settings: Settings): Promise<void> {
  switch (command.kind) {
    case 'up': {
      const foreground = command.foreground ? endAsked() : undefined
      await up(settings, foreground)
      if (foreground?.aborted === true) await down(settings)
      return
    }
    case 'down':
      return await down(settings)
    case 'status':
      if (!(await status(settings, command.json))) process.exitCode = 1
      return
    case 'restart':
      await checkOwner(settings.data)
      await askRestart(runFolderOf(settings.data).supervisorSocket, command.process)
      return say(`${command.process} has been restarted.`)
    case 'backup':
      return await backup(settings, command.folder)
    case 'restore':
      return await restore(settings, command.file)
    case 'image-build': {
      const name = `${basename(resolve(command.folder))}:latest`
      await writeArchive(await packImage(settings, command.folder), name, command.output)
      return say(`${command.output} holds ${name}; load it with docker load -i ${command.output}`)
    }
    case 'image-push': {
      const target = parsePushTarget(command.reference)
      const digest = await pushImage(await packImage(settings, command.folder), target)
      return say(`${command.reference} is ${digest}`)
    }
    case 'test': {
      const { releaseDeadSlots } = await import('../../test/support/slot.ts')
      const environment = { ...process.env }
      process.exitCode = await runTests({
        project: settings.project,
        fast: command.fast,
        environment,
        clear: releaseDeadSlots,
        asked: endAsked(),
      })
      return
    }
    case 'help':
      process.stdout.write(usage)
  }
}

/** Loaded where it is needed: the libraries of database and engine take longer than most commands. */
async function down(settings: Settings): Promise<void> {
  const { down: takeDown } = await import('./down.ts')
  await takeDown(settings)
}

/** Aborts with the first SIGINT or SIGTERM; the second one ends the process as it always does. */
function endAsked(): AbortSignal {
  const asked = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => asked.abort())
  return asked.signal
}

async function packImage(settings: Settings, folder: string): Promise<BuiltImage> {
  const nodeBinary = join(settings.project, 'node_modules/.bin/node')
  const cache = imageCache(settings.project, settings.data)
  const { leftOut, ...image } = await buildNodeImage({ folder, nodeBinary, cache })
  if (leftOut.length > 0)
    say(
      `Left out: ${leftOut.join(', ')} (dependencies, tests, documents, linked folders and hidden files are not packed).`,
    )
  return image
}

// Whoever reads the output may stop early (`./berth up | head`): the work is finished nevertheless.
process.stdout.on('error', () => undefined)

try {
  const project = resolve(import.meta.dirname, '../..')
  await run(parseCommand(process.argv.slice(2)), parseSettings(process.env, project, process.cwd()))
} catch (error) {
  if (!(error instanceof Failure)) throw error
  process.stderr.write(`berth: ${error.message}\n`)
  process.exitCode = 1
}
