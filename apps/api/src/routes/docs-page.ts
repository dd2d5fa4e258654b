import type { Hono } from 'hono'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ApiEnv } from './dispatch.ts'

/*
 * The page of the API description. Its assets come out of the installed swagger-ui-dist, so it works without a
 * network; a strict content policy keeps it from calling anybody else.
 */

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Berth API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`

const startScript = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#page',
  deepLinking: true,
  validatorUrl: null,
})
`

const assets = { 'swagger-ui.css': 'text/css', 'swagger-ui-bundle.js': 'text/javascript' } as const

export function addDocsPage(app: Hono<ApiEnv>): void {
  const headers = { 'content-security-policy': policy, 'x-content-type-options': 'nosniff' }
  const answer = (body: string | Uint8Array<ArrayBuffer>, type: string) =>
    new Response(body, { headers: { ...headers, 'content-type': `${type}; charset=utf-8` } })
  app.get('/docs', () => answer(page, 'text/html'))
  app.get('/docs/start.js', () => answer(startScript, 'text/javascript'))
  const folder = dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json')))
  for (const [name, type] of Object.entries(assets))
    app.get(`/docs/${name}`, async () => answer(new Uint8Array(await readFile(join(folder, name))), type))
}
