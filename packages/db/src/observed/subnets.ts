/*
 * Subnets of project networks, cut out of `BERTH_NETWORK_CIDR`: 198.18.0.0/16 gives 256 networks of /24.
 */

const maxPrefix = 26
const bitsForNetworks = 8

type Block = { base: number; prefix: number }

/** IPv4 as `a.b.c.d/prefix`, the address being the first of the block. Throws a `RangeError` otherwise. */
export function parseCidr(text: string): Block {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text)
  const numbers = (match ?? []).slice(1).map(Number)
  const [a = 256, b = 256, c = 256, d = 256, prefix = 33] = numbers
  if ([a, b, c, d].some((octet) => octet > 255) || prefix < 8 || prefix > maxPrefix)
    throw new RangeError(`"${text}" is not an IPv4 block from /8 to /${maxPrefix}`)
  const base = ((a * 256 + b) * 256 + c) * 256 + d
  if (base % 2 ** (32 - prefix) !== 0) throw new RangeError(`"${text}" does not begin on its own boundary`)
  return { base, prefix }
}

function formatCidr({ base, prefix }: Block): string {
  const octets = [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256)
  return `${octets.join('.')}/${prefix}`
}

function overlap(one: Block, other: Block): boolean {
  const size = 2 ** (32 - Math.min(one.prefix, other.prefix))
  return Math.floor(one.base / size) === Math.floor(other.base / size)
}

/** The first subnet of `cidr` that overlaps none of `taken`, or undefined when there is none left. */
export function freeSubnet(cidr: string, taken: readonly string[]): string | undefined {
  const block = parseCidr(cidr)
  const prefix = Math.min(block.prefix + bitsForNetworks, maxPrefix)
  const blocked = taken.map(parseCidr)
  const size = 2 ** (32 - prefix)
  for (let index = 0; index < 2 ** (prefix - block.prefix); index += 1) {
    const candidate = { base: block.base + index * size, prefix }
    if (!blocked.some((other) => overlap(candidate, other))) return formatCidr(candidate)
  }
  return undefined
}
