import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { ConfigError } from '../../src/errors/errors.ts'
import { addressBucket } from '../../src/guard/address.ts'
import { ClientAddresses } from '../../src/guard/client-address.ts'
import { readTrustedProxies } from '../../src/guard/trusted-proxies.ts'
import type { GuardOptions, GuardRequest } from '../../src/index.ts'
import { ask as askGuard, guarded } from './asking.ts'

describe('addressBucket', () => {
  test.each<[string, string | undefined]>([
    ['1.2.3.4', '1.2.3.4'],
    [' 1.2.3.4 ', '1.2.3.4'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['1.2.3.4:5678', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:1.2.3.4', '1.2.3.4'],
    ['::ffff:102:304', '1.2.3.4'],
    ['::ffff:0102:0304', '1.2.3.4'],
    ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
    ['0:0:0:0:0:ffff:102:304', '1.2.3.4'],
    ['0000:0000:0000:0000:0000:ffff:0102:0304', '1.2.3.4'],
    ['[::ffff:1.2.3.4]:443', '1.2.3.4'],
    ['::ffff:1.2.3.4%eth0', '1.2.3.4'],
    ['64:ff9b::1.2.3.4', '1.2.3.4'],
    ['64:ff9b::102:304', '1.2.3.4'],
    ['64:ff9b:1::102:304', '64:ff9b:1:0::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:DB8::1', '2001:db8:0:0::/64'],
    ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:ffff:ffff:ffff:ffff', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::1', '2001:db8:0:1::/64'],
    ['2001:db8:0:1::', '2001:db8:0:1::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::1.2.3.4', '2001:db8:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['[::1]', '0:0:0:0::/64'],
    ['[2001:db8::1]:8080', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['fe80::1%25eth0', 'fe80:0:0:0::/64'],
    ['[fe80::1%eth0]:80', 'fe80:0:0:0::/64'],
    ['::1.2.3.4', '0:0:0:0::/64'],
    ['1::8', '1:0:0:0::/64'],
    ['1:2:3:4:5:6:7::', '1:2:3:4::/64'],
    ['::2:3:4:5:6:7:8', '0:2:3:4::/64'],
    ['', undefined],
    ['unknown', undefined],
    ['_hidden', undefined],
    ['localhost', undefined],
    ['undefined', undefined],
    ['1.2.3', undefined],
    ['1.2.3.4.5', undefined],
    ['1.2.3.256', undefined],
    ['010.0.0.1', undefined],
    ['0x1.2.3.4', undefined],
    ['1.2.3.4%eth0', undefined],
    ['1.2.3.-4', undefined],
    ['16909060', undefined],
    ['1.2.3.4, 5.6.7.8', undefined],
    ['1:2:3:4:5:6:7', undefined],
    ['1:2:3:4:5:6:7:8:9', undefined],
    ['1:2:3:4:5:6:7:8::', undefined],
    ['1::2::3', undefined],
    [':1:2:3:4:5:6:7', undefined],
    ['12345::', undefined],
    ['g::', undefined],
    ['::ffff:1.2.3', undefined],
    ['::ffff:1.2.3.4:80', undefined],
    ['1.2.3.4::', undefined],
    ['[::1', undefined],
    ['::1]', undefined],
    [':::', undefined],
    ['%', undefined],
    [':', undefined],
  ])('%j counts as %j', (address, bucket) => {
    expect(addressBucket(address)).toBe(bucket)
  })

  test('every notation of an IPv4 address is the same', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a, b, c, d] = address.split('.').map(Number) as [number, number, number, number]
        const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
        for (const notation of [address, `::ffff:${address}`, `::ffff:${hex}`, `${address}:80`, `[::FFFF:${hex}]:1`])
          expect(addressBucket(notation)).toBe(address)
      }),
    )
  })

  test('two IPv6 addresses share a bucket exactly where their first 64 bits agree', () => {
    const group = fc.integer({ min: 0, max: 0xffff })
    const groups = fc.array(group, { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(groups, fc.array(group, { minLength: 4, maxLength: 4 }), (all, others) => {
        fc.pre(all.slice(0, 6).some((value) => value !== 0) && all[0] !== 0x64)
        const text = (parts: number[]) => parts.map((part) => part.toString(16)).join(':')
        const here = addressBucket(text(all))
        expect(here).toBe(`${text(all.slice(0, 4))}::/64`)
        expect(addressBucket(text([...all.slice(0, 4), ...others]))).toBe(here)
        expect(addressBucket(text([...all.slice(0, 3), all[3]! ^ 1, ...all.slice(4)]))).not.toBe(here)
      }),
    )
  })

  test('whatever a client writes is read or not, and never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => void addressBucket(text)))
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%[]/ '.split('')) }), (text) => {
        const bucket = addressBucket(text)
        if (bucket !== undefined) expect(bucket).toMatch(/^(\d+\.\d+\.\d+\.\d+|[0-9a-f:]+::\/64)$/)
      }),
    )
  })
})

describe('clientBucket', () => {
  const ask = (remoteAddress: string | undefined, forwarded: string | null, trustProxy: unknown) =>
    new ClientAddresses({ proxies: readTrustedProxies(trustProxy), believesFramework: false }).of({
      method: 'GET',
      path: '/',
      header: (name) => (name === 'x-forwarded-for' ? forwarded : '9.9.9.9'),
      remoteAddress,
    }).bucket

  test.each<[string, string | undefined, string | null, unknown, string]>([
    ['nobody is trusted unless it is said', '1.1.1.1', '6.6.6.6', undefined, '1.1.1.1'],
    ['… or said to be nobody', '127.0.0.1', '6.6.6.6', false, '127.0.0.1'],
    ['a peer that is not trusted speaks for itself', '1.1.1.1', '6.6.6.6', 'loopback', '1.1.1.1'],
    ['a trusted peer is believed', '127.0.0.1', '6.6.6.6', 'loopback', '6.6.6.6'],
    ['… as IPv6', '::1', '6.6.6.6', 'loopback', '6.6.6.6'],
    ['… as mapped IPv4', '::ffff:127.0.0.1', '6.6.6.6', 'loopback', '6.6.6.6'],
    ['… anywhere in 127/8', '127.9.9.9', '6.6.6.6', 'loopback', '6.6.6.6'],
    ['what the client wrote itself, left of it, is not', '127.0.0.1', '5.5.5.5, 6.6.6.6', 'loopback', '6.6.6.6'],
    ['hops of ours are skipped', '10.0.0.1', '5.5.5.5, 6.6.6.6, 10.0.0.2, 10.1.2.3', ['10.0.0.0/8'], '6.6.6.6'],
    ['an address alone is a network of one', '10.0.0.1', '6.6.6.6', ['10.0.0.1'], '6.6.6.6'],
    ['… and no more', '10.0.0.2', '6.6.6.6', ['10.0.0.1'], '10.0.0.2'],
    ['the edge of a network is in it', '10.0.15.255', '6.6.6.6', ['10.0.0.0/20'], '6.6.6.6'],
    ['… and what is beyond is not', '10.0.16.0', '6.6.6.6', ['10.0.0.0/20'], '10.0.16.0'],
    ['an IPv6 network', 'fd00::1', '6.6.6.6', ['fd00::/8'], '6.6.6.6'],
    ['an IPv6 network that ends within a group', '2001:db8:8000::1', '6.6.6.6', ['2001:db8:8000::/33'], '6.6.6.6'],
    ['… and its neighbour', '2001:db8:7fff::1', '6.6.6.6', ['2001:db8:8000::/33'], '2001:db8:7fff:0::/64'],
    ['lists may name loopback', '127.0.0.1', '6.6.6.6', ['10.0.0.0/8', 'loopback'], '6.6.6.6'],
    ['a hop that cannot be read falls back to the peer', '127.0.0.1', '6.6.6.6, unknown', 'loopback', '127.0.0.1'],
    ['… also left of one of ours', '10.0.0.1', '6.6.6.6, junk, 10.0.0.2', ['10.0.0.0/8'], '10.0.0.1'],
    ['… also where it is empty', '127.0.0.1', '6.6.6.6, ', 'loopback', '127.0.0.1'],
    ['… and an empty header', '127.0.0.1', '', 'loopback', '127.0.0.1'],
    ['… but not left of the one that counts', '127.0.0.1', 'junk, 6.6.6.6', 'loopback', '6.6.6.6'],
    ['no header, no hops', '127.0.0.1', null, 'loopback', '127.0.0.1'],
    ['hops that are all ours: the furthest', '10.0.0.1', '10.0.0.3, 10.0.0.2', ['10.0.0.0/8'], '10.0.0.3'],
    ['a hop with a port', '127.0.0.1', '6.6.6.6:1234', 'loopback', '6.6.6.6'],
    ['an IPv6 hop with a port', '127.0.0.1', '[2001:db8::5]:1234', 'loopback', '2001:db8:0:0::/64'],
    ['a mapped hop', '127.0.0.1', '::ffff:6.6.6.6', 'loopback', '6.6.6.6'],
    [
      'a spoofed loopback hop is one of ours, and still not the end',
      '127.0.0.1',
      '127.0.0.1, 6.6.6.6',
      'loopback',
      '6.6.6.6',
    ],
    ['a list longer than any of ours', '127.0.0.1', Array(40).fill('6.6.6.6').join(','), 'loopback', '127.0.0.1'],
    ['no peer at all', undefined, '6.6.6.6', 'loopback', 'unknown'],
    ['a peer that is a path', '/run/app.sock', '6.6.6.6', 'loopback', 'unknown'],
  ])('%s', (_rule, peer, forwarded, trustProxy, expected) => {
    expect(ask(peer, forwarded, trustProxy)).toBe(expected)
  })

  test('whatever a client writes left of what our proxy appends changes nothing', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (written) => {
        fc.pre(written.split(',').length < 30)
        expect(ask('127.0.0.1', `${written}, 6.6.6.6`, 'loopback')).toBe('6.6.6.6')
      }),
    )
  })

  test.each([
    [true],
    ['all'],
    ['10.0.0.0/8'],
    [0],
    [33],
    [1.5],
    ['akamai'],
    [null],
    [['10.0.0.0/33']],
    [['10.0.0.0/-1']],
    [['proxy.example']],
    [['::/129']],
    [['1.2.3.4/8/8']],
    [[5]],
    [['10.0.0.0/']],
  ])('trustProxy: %j is refused, and says what to give', (trustProxy) => {
    expect(() => readTrustedProxies(trustProxy)).toThrow(ConfigError)
  })
})

describe('who stands in front', () => {
  const ask = (trustProxy: unknown, remoteAddress: string | undefined, headers: Record<string, string>) =>
    new ClientAddresses({ proxies: readTrustedProxies(trustProxy), believesFramework: false }).of({
      method: 'GET',
      path: '/',
      header: (name) => headers[name] ?? null,
      remoteAddress,
    }).bucket
  const xff = (value: string) => ({ 'x-forwarded-for': value })

  test.each<[string, unknown, string | undefined, Record<string, string>, string]>([
    ['nginx on this machine', 'nginx', '127.0.0.1', xff('spoof, 6.6.6.6'), '6.6.6.6'],
    ['nginx in a private network', 'nginx', '10.0.0.2', xff('6.6.6.6, 10.0.0.9'), '6.6.6.6'],
    ['nginx over a Unix socket', 'nginx', undefined, xff('6.6.6.6'), '6.6.6.6'],
    ['nginx is not somebody outside', 'nginx', '5.5.5.5', xff('6.6.6.6'), '5.5.5.5'],
    ['Cloudflare', 'cloudflare', '172.64.1.1', { 'cf-connecting-ip': '6.6.6.6', ...xff('spoof, 6.6.6.6') }, '6.6.6.6'],
    ['Cloudflare over IPv6', 'cloudflare', '2606:4700::1', { 'cf-connecting-ip': '2001:db8::1' }, '2001:db8:0:0::/64'],
    [
      'Cloudflare in front of nginx',
      'cloudflare',
      '127.0.0.1',
      { 'cf-connecting-ip': '6.6.6.6', ...xff('9.9.9.9, 6.6.6.6, 172.64.1.1') },
      '6.6.6.6',
    ],
    ['past Cloudflare its header is made up', 'cloudflare', '5.5.5.5', { 'cf-connecting-ip': '6.6.6.6' }, '5.5.5.5'],
    ['… also behind nginx', 'cloudflare', '127.0.0.1', { 'cf-connecting-ip': '6.6.6.6', ...xff('5.5.5.5') }, '5.5.5.5'],
    ['Vercel', 'vercel', '127.0.0.1', { 'x-vercel-forwarded-for': '6.6.6.6', ...xff('spoof') }, '6.6.6.6'],
    ['Vercel, whose runtime has no peer', 'vercel', undefined, { 'x-real-ip': '6.6.6.6' }, '6.6.6.6'],
    ['who is not Vercel', 'vercel', '5.5.5.5', { 'x-vercel-forwarded-for': '6.6.6.6' }, '5.5.5.5'],
    ['Fly', 'fly', '172.16.5.1', { 'fly-client-ip': '6.6.6.6', ...xff('spoof, 6.6.6.6, 66.241.1.1') }, '6.6.6.6'],
    ['Fly over its IPv6 network', 'fly', 'fdaa::3', { 'fly-client-ip': '2001:db8::1' }, '2001:db8:0:0::/64'],
    ['Render, behind Cloudflare', 'render', '10.1.1.1', xff('spoof, 6.6.6.6, 172.64.1.1, 10.2.2.2'), '6.6.6.6'],
    ['Heroku', 'heroku', '10.1.1.1', xff('spoof, 6.6.6.6'), '6.6.6.6'],
    ['one hop', 1, '5.5.5.5', xff('spoof, 6.6.6.6'), '6.6.6.6'],
    ['two hops', 2, '5.5.5.5', xff('spoof, 6.6.6.6, 7.7.7.7'), '6.6.6.6'],
    ['two hops, and a list that only one of them wrote', 2, '5.5.5.5', xff('6.6.6.6'), '5.5.5.5'],
    ['a hop that cannot be read', 1, '5.5.5.5', xff('6.6.6.6, junk'), '5.5.5.5'],
  ])('%s', (_who, trustProxy, peer, headers, expected) => {
    expect(ask(trustProxy, peer, headers)).toBe(expected)
  })

  test('where framework or app know better, they are asked first', () => {
    const request = {
      method: 'GET',
      path: '/',
      header: () => '9.9.9.9',
      remoteAddress: '127.0.0.1',
      address: '6.6.6.6',
    }
    const of = (options: { believesFramework: boolean; own?: () => string | undefined; proxies?: unknown }) =>
      new ClientAddresses({ ...options, proxies: readTrustedProxies(options.proxies) }).of(request).bucket
    expect(of({ believesFramework: true })).toBe('6.6.6.6')
    expect(of({ believesFramework: false, proxies: 'loopback' })).toBe('9.9.9.9')
    expect(of({ believesFramework: true, own: () => '7.7.7.7' })).toBe('7.7.7.7')
    expect(of({ believesFramework: true, own: () => undefined })).toBe('6.6.6.6')
    expect(of({ believesFramework: true, own: () => 'nowhere' })).toBe('unknown')
  })
})

describe('what arrives may contradict what was said', () => {
  const warnings = (
    options: GuardOptions,
    times: number,
    request: Partial<GuardRequest> & { headers?: Record<string, string> },
  ) => {
    const emitted = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { guard } = guarded(options)
    for (let time = 0; time < times; time++) guard.check(askGuard('GET', '/x', request))
    const said = emitted.mock.calls.map(([text, details]) => [String(text), (details as { code?: string }).code])
    emitted.mockRestore()
    return said
  }
  const forwarded = { 'x-forwarded-for': '6.6.6.6' }

  test('a proxy that nobody named is told of through the process, once, also without a logger', () => {
    expect(warnings({}, 5, { headers: forwarded })).toEqual([
      [expect.stringContaining('trustProxy is not set'), 'HOLDFAST_TRUST_PROXY'],
    ])
    expect(warnings({}, 5, {})).toEqual([])
    expect(warnings({ trustProxy: 'nginx' }, 500, { remoteAddress: '10.0.0.1', headers: forwarded })).toEqual([])
  })

  test('a proxy other than the one that was named, and one that names nobody', () => {
    expect(warnings({ trustProxy: 'nginx' }, 5, { remoteAddress: '5.5.5.5', headers: forwarded })).toEqual([
      [expect.stringContaining('does not name'), 'HOLDFAST_TRUST_PROXY'],
    ])
    expect(warnings({ trustProxy: 'nginx' }, 99, { remoteAddress: '10.0.0.1' })).toEqual([])
    expect(warnings({ trustProxy: 'nginx' }, 300, { remoteAddress: '10.0.0.1' })).toEqual([
      [expect.stringContaining('says of nobody'), 'HOLDFAST_TRUST_PROXY'],
    ])
  })
})
