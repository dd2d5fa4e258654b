import { StringDecoder } from 'node:string_decoder'

const maxLineCharacters = 1024 * 1024

/**
 * One JSON value a line, as pulls, builds and events answer. A line that is not JSON, an over-long one, or a last
 * one that was cut off throws: a broken stream must not look like a finished one.
 */
export async function* readNdjson(chunks: AsyncIterable<Buffer>): AsyncGenerator {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(chunk)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > maxLineCharacters) throw new SyntaxError('a line of the answer is too long')
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line)
  }
  rest += decoder.end()
  if (rest.trim() !== '') yield JSON.parse(rest)
}
