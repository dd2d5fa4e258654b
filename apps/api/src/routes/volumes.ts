import { listOf, pageQuery, volumeView as volumeSchema } from '@berth/contracts'
import { desired } from '@berth/db'
import { listBody, pageOf } from '../http/cursor.ts'
import { deleteVolume, findVolume, volumeView } from '../operations/volumes.ts'
import { readRoute, writeRoute, type Route } from './route.ts'

const tag = 'Volumes'
const shown = { description: 'The volume', schema: volumeSchema } as const

export function volumeRoutes(): Route[] {
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
  ]
}
