import { readFile, rename, writeFile } from 'node:fs/promises'
import type { RunFolder } from '../run-folder.ts'
import { environmentOf, portVariables, type Settings } from '../settings.ts'

/** Written by each supervisor at its start, readable by its user alone: the URLs of stores carry passwords. */
export async function writeRunningSettings(run: RunFolder, settings: Settings): Promise<void> {
  await writeFile(`${run.settingsFile}.new`, JSON.stringify(settings), { mode: 0o600 })
  await rename(`${run.settingsFile}.new`, run.settingsFile)
}

/** The settings of the last supervisor here, undefined when there was none since the machine started. */
export async function readRunningSettings(run: RunFolder): Promise<Settings | undefined> {
  try {
    return JSON.parse(await readFile(run.settingsFile, 'utf8')) as Settings
  } catch {
    return undefined
  }
}

/** Ports have a refusal of their own; the folder is the one that this was found in; programs are found or not. */
const apart: readonly string[] = [
  'BERTH_DATA',
  'PATH',
  ...Object.values(portVariables).map(({ variable }) => variable),
]

/** The variables whose values differ between what runs and what was asked for, by name. */
export function differingVariables(running: Settings, asked: Settings): string[] {
  const before = environmentOf(running)
  const after = environmentOf(asked)
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].filter((name) => !apart.includes(name) && before[name] !== after[name]).sort()
}
