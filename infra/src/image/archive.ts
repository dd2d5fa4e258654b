import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { pack } from 'tar-stream'
import { Failure, messageOf } from '../failure.ts'
import { type BuiltImage, sha256 } from './node-image.ts'

/** Writes an archive that `docker load` takes; `reference` becomes the image's name. */
export async function writeArchive(image: BuiltImage, reference: string, file: string): Promise<void> {
  const tar = pack()
  const written = pipeline(tar, createWriteStream(file))
  const fill = async () => {
    const configName = `${sha256(image.config).slice('sha256:'.length)}.json`
    const layerNames = image.layers.map(({ digest }) => `${digest.slice('sha256:'.length)}.tar.gz`)
    tar.entry({ name: configName, mtime: new Date(0) }, image.config)
    for (const [index, layer] of image.layers.entries()) {
      const name = layerNames[index] ?? ''
      await pipeline(createReadStream(layer.file), tar.entry({ name, size: layer.size, mtime: new Date(0) }))
    }
    const manifest = JSON.stringify([{ Config: configName, RepoTags: [reference], Layers: layerNames }])
    tar.entry({ name: 'manifest.json', mtime: new Date(0) }, manifest)
    tar.finalize()
  }
  await Promise.all([written, fill()]).catch((error: unknown) => {
    throw new Failure(`${file} cannot be written: ${messageOf(error)}.`, { cause: error })
  })
}
