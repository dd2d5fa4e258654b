import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/* `npm run db:generate`: writes the SQL for what has changed in `src/schema.ts` into `migrations/`. */

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

execFileSync(
  process.execPath,
  [
    here('../../node_modules/drizzle-kit/bin.cjs'),
    'generate',
    '--dialect=postgresql',
    `--schema=${here('src/schema.ts')}`,
    '--out=migrations',
    ...process.argv.slice(2),
  ],
  { cwd: here('.'), stdio: 'inherit' },
)
