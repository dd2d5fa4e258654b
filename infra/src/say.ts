/** What a command tells the person who typed it; standard output, one line each. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
