import { fileURLToPath } from 'node:url'

/* `npm run db:generate`: writes the SQL for what has changed in `src/schema.ts` into `migrations/`. */

process.chdir(fileURLToPath(new URL('.', import.meta.url)))
process.argv.splice(2, 0, 'generate', '--dialect=postgresql', '--schema=src/schema.ts', '--out=migrations')
await import(new URL('../../node_modules/drizzle-kit/bin.cjs', import.meta.url).href)
