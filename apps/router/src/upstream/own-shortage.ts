const codes = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'])

/** Whether this machine has no descriptor or memory left for a connection, whoever is at the other end. */
export function isOwnShortage(error: NodeJS.ErrnoException): boolean {
  return codes.has(error.code ?? '')
}
