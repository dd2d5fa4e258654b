import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const newKey = ['-newkey', 'rsa:2048', '-nodes']

/** Certificates for tests, valid for two days, made with openssl as `<name>.pem` and `<name>.key` in one folder. */
export type Certificates = {
  authority(name: string): Promise<void>
  /** One of the authority `by`, for 127.0.0.1 or what is said, in openssl's words. */
  certificate(name: string, by: string, names?: string): Promise<void>
  /** Both in the words of `node:tls`. */
  identity(name: string): Promise<{ cert: string; key: string }>
  /** The authority's own certificate. */
  trust(name: string): Promise<string>
}

export function makeCertificates(folder: string): Certificates {
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder })
  const read = (name: string) => readFile(join(folder, name), 'utf8')
  return {
    async authority(name) {
      const subject = ['-subj', `/CN=${name}`, '-days', '2']
      await openssl('req', '-x509', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.pem`, ...subject)
    },
    async certificate(name, by, names = 'IP:127.0.0.1') {
      const subject = ['-subj', `/CN=${name}`]
      await openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, ...subject)
      const extensions = `${name}.extensions`
      await writeFile(join(folder, extensions), `subjectAltName=${names}`)
      const signing = ['-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial', '-days', '2']
      const files = ['-in', `${name}.csr`, '-out', `${name}.pem`, '-extfile', extensions]
      await openssl('x509', '-req', ...files, ...signing)
    },
    identity: async (name) => ({ cert: await read(`${name}.pem`), key: await read(`${name}.key`) }),
    trust: (name) => read(`${name}.pem`),
  }
}
