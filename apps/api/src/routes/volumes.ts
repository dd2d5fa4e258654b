import { listOf, pageQuery, volumeSizeAnswer, volumeView as volumeSchema } from '@berth/contracts'
import { desired } from '@berth/db'
import { z } from 'zod'
import type { ApiContext } from '../context.ts'
import { listBody, pageOf } from '../http/cursor.ts'
import { backUpVolume, measureVolume } from '../operations/volume-archives.ts'
import { makeVolumeFrom } from '../operations/volume-restore.ts'
import { deleteVolume, findVolume, volumeView } from '../operations/volumes.ts'
import { readRoute, uploadRoute, writeRoute, type Route } from './route.ts'

const tag = 'Volumes'
const shown = { description: 'The volume', schema: volumeSchema } as const

const tarType = 'application/x-tar'
const restoreQuery = z.strictObject({ node: z.string().min(1).max(63).optional() })

export function volumeRoutes(context: ApiContext): Route[] {
  return [
    readRoute({
      path: '/volumes',
      access: 'project',
      summary: 'List volumes by name',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of volumes', schema: listOf(volumeSchema) } },
      async handle({ db, project, query }) {
        const page = pageOf(query)
        const rows = await desired.listVolumes(db, project.uid, page)
        const view = (row: desired.VolumePicture) => volumeView(project.name, row)
        return { status: 200, body: listBody(rows, page, ({ volume }) => volume.name, view) }
      },
    }),
    readRoute({
      path: '/volumes/{volume}',
      access: 'project',
      summary: 'Read a volume',
      tag,
      answers: { 200: shown },
      async handle({ db, project, param }) {
        const picture = await findVolume(db, project.uid, param('volume'))
        return { status: 200, body: volumeView(project.name, picture) }
      },
    }),
    writeRoute({
      method: 'delete',
      path: '/volumes/{volume}',
      access: 'project',
      summary: 'Delete a volume and all that is in it; it is shown until it is gone',
      tag,
      answers: { 202: { ...shown, description: 'The volume, which is being deleted' } },
      handle: async ({ tx, project, param }) => ({
        status: 202,
        body: await deleteVolume(tx, project, param('volume')),
      }),
    }),
    readRoute({
      path: '/volumes/{volume}/archive',
      access: 'project',
      summary: 'Read a volume as a tar, as it is while it is read',
      tag,
      answers: { 200: { description: 'A tar of all that is in it', content: { [tarType]: z.string() } } },
      async handle({ db, project, param, signal }) {
        const { volume } = await findVolume(db, project.uid, param('volume'))
        const tar = await backUpVolume(context, volume, signal)
        return new Response(tar as ConstructorParameters<typeof Response>[0], {
          headers: { 'content-type': tarType, 'cache-control': 'no-store' },
        })
      },
    }),
    uploadRoute({
      path: '/volumes/{volume}/archive',
      access: 'project',
      contentType: tarType,
      summary: 'Make a new volume from a tar',
      tag,
      query: restoreQuery,
      answers: { 201: { ...shown, headers: ['Location'] } },
      async handle({ db, project, prefix, param, query, body, signal }) {
        const wanted = { name: param('volume'), node: query.node }
        const made = await makeVolumeFrom(context, db, project, wanted, { body, signal })
        return { status: 201, headers: { location: `${prefix}/volumes/${made.name}` }, body: made }
      },
    }),
    readRoute({
      path: '/volumes/{volume}/size',
      access: 'project',
      summary: 'Measure a volume on the disk of its node',
      tag,
      answers: { 200: { description: 'Its size', schema: volumeSizeAnswer } },
      async handle({ db, project, param, signal }) {
        const { volume } = await findVolume(db, project.uid, param('volume'))
        return { status: 200, body: { bytes: await measureVolume(context, volume, signal) } }
      },
    }),
  ]
}
