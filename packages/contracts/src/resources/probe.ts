import { z } from 'zod'

const port = z.int().min(1).max(65_535)
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/

const httpGet = z.strictObject({
  path: z
    .string()
    .max(2048)
    .regex(/^\/[!-~]*$/, 'must begin with "/" and carry no spaces or control characters')
    .default('/'),
  port: port.optional(),
  httpHeaders: z
    .array(
      z.strictObject({
        name: z.string().regex(headerName, 'must be a header name'),
        value: z
          .string()
          .max(4096)
          .regex(/^[\t -~]*$/, 'must be printable ASCII'),
      }),
    )
    .max(32)
    .optional(),
})

/** A probe in Kubernetes' words: exactly one of httpGet, tcpSocket and grpc. A port left out is the app's. */
export const probeSpec = z
  .strictObject({
    httpGet: httpGet.optional(),
    tcpSocket: z.strictObject({ port: port.optional() }).optional(),
    grpc: z.strictObject({ port: port.optional(), service: z.string().max(253).optional() }).optional(),
    initialDelaySeconds: z.int().min(0).max(3600).default(0),
    periodSeconds: z.int().min(1).max(3600).default(10),
    timeoutSeconds: z.int().min(1).max(3600).default(1),
    successThreshold: z.int().min(1).max(100).default(1),
    failureThreshold: z.int().min(1).max(1000).default(3),
  })
  .superRefine((probe, context) => {
    const given = [probe.httpGet, probe.tcpSocket, probe.grpc].filter((check) => check !== undefined)
    if (given.length !== 1)
      context.addIssue({ code: 'custom', message: 'must have exactly one of httpGet, tcpSocket and grpc' })
  })
export type ProbeSpec = z.infer<typeof probeSpec>
