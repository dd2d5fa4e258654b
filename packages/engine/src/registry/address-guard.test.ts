import { describe, expect, test } from 'vitest'
import { isPublicAddress, publicAddresses } from './address-guard.ts'

const never = () => Promise.reject(new Error('nothing is to be resolved'))

describe('an address', () => {
  test.each(['1.1.1.1', '93.184.216.34', '172.15.0.1', '172.32.0.1', '2606:4700::1111', '2a00:1450::1'])(
    '%s is public',
    (address) => {
      expect(isPublicAddress(address)).toBe(true)
    },
  )

  test.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '127.255.255.255',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:93.184.216.34',
    '64:ff9b::7f00:1',
    'fe80::1',
    'fec0::1',
    'fc00::1',
    'fd12::1',
    'ff02::1',
    '2001:db8::1',
    '2002:7f00:1::',
    'not an address',
    '',
  ])('%s is not', (address) => {
    expect(isPublicAddress(address)).toBe(false)
  })
})

describe('a host', () => {
  test('that is an address is asked of nobody', async () => {
    expect(await publicAddresses('1.1.1.1', never)).toEqual([{ address: '1.1.1.1', family: 4 }])
    await expect(publicAddresses('[::1]', never)).rejects.toMatchObject({ code: 'RegistryRefused' })
  })

  test('with one private address is refused', async () => {
    const resolve = async () => [
      { address: '1.1.1.1', family: 4 },
      { address: '::1', family: 6 },
    ]
    await expect(publicAddresses('a.example', resolve)).rejects.toMatchObject({ code: 'RegistryRefused' })
  })

  test('with none does not answer', async () => {
    const resolved = publicAddresses('a.example', async () => [])
    await expect(resolved).rejects.toMatchObject({ code: 'RegistryUnreachable' })
  })
})
