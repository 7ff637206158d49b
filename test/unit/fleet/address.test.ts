// Addresses: canonical text against RFC 5952's own examples and against the URL parser as a second opinion.

import { randomInt } from 'node:crypto'
import { isIPv6 } from 'node:net'
import t from 'tap'
import {
  addressBytes,
  canonicalAddress,
  parseAddress,
  parsePrefix,
} from '../../../src/fleet/address.js'
import { seeded } from '../../../src/lab/random.js'

function hex(text: string): string {
  return Buffer.from(addressBytes(text)).toString('hex')
}

t.test('IPv6 text is canonical as RFC 5952 says', async (t) => {
  for (const [text, canonical] of [
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8::AAAA', '2001:db8::aaaa'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1::', '1::'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ] as const) {
    t.equal(canonicalAddress(text), canonical, text)
  }
})

t.test(
  'any spelling of a random IPv6 address gives the text that the URL parser gives',
  async (t) => {
    const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
    t.comment(`SEED=${seed}`)
    const random = seeded(seed)
    for (let i = 0; i < 2000; i++) {
      const words = Array.from({ length: 8 }, () =>
        random.next() < 0.5 ? 0 : random.int(0, 65536),
      )
      if (words.slice(0, 5).every((word) => word === 0)) continue
      const long = words.map((word) => word.toString(16).padStart(4, '0').toUpperCase()).join(':')
      const canonical = canonicalAddress(long)
      if (`[${canonical}]` !== new URL(`http://[${long}]/`).hostname)
        t.fail(`${long}: ${canonical}`)
      if (!isIPv6(canonical) || hex(canonical) !== hex(long)) t.fail(`${long} changed its meaning`)
    }
    t.pass('no difference')
  },
)

t.test('addresses are 16 bytes, IPv4 mapped', async (t) => {
  t.equal(hex('192.0.2.1'), '00000000000000000000ffffc0000201')
  t.equal(hex('2001:db8::1'), '20010db8000000000000000000000001')
  t.equal(hex('::'), '0'.repeat(32))
})

t.test('what is no address, or has another meaning elsewhere, is refused', async (t) => {
  for (const text of [
    '',
    '1',
    '192.0.2',
    '192.0.2.1.1',
    '192.0.2.256',
    '192.0.2.01',
    ' 192.0.2.1',
    '192.0.2.1/32',
    '0xc0.0.2.1',
    '::ffff:192.0.2.1',
    '::ffff:c000:201',
    'fe80::1%lo',
    '[::1]',
    '1:2:3:4:5:6:7',
    '1::2::3',
    'g::',
  ]) {
    t.match(parseAddress(text), { ok: false }, JSON.stringify(text))
    t.throws(() => canonicalAddress(text), RangeError)
    t.throws(() => addressBytes(text), RangeError)
  }
})

t.test('a prefix is an address with a length and no bits beyond it', async (t) => {
  t.same(parsePrefix('198.51.100.0/24'), {
    ok: true,
    prefix: { text: '198.51.100.0/24', family: 4, length: 24 },
  })
  t.match(parsePrefix('0.0.0.0/0'), { ok: true })
  t.match(parsePrefix('198.51.100.7/32'), { ok: true })
  t.match(parsePrefix('198.51.100.128/25'), { ok: true })
  t.match(parsePrefix('2001:DB8::/33'), { ok: true, prefix: { text: '2001:db8::/33', family: 6 } })
  t.match(parsePrefix('198.51.100.64/25'), { expected: /did you mean "198\.51\.100\.0\/25"/ })
  t.match(parsePrefix('2001:db8:8000::/32'), { expected: /did you mean "2001:db8::\/32"/ })
  t.match(parsePrefix('198.51.100.0/33'), { expected: 'a prefix length 0 to 32 for IPv4' })
  t.match(parsePrefix('::/129'), { expected: 'a prefix length 0 to 128 for IPv6' })
  for (const text of ['', '198.51.100.0', '198.51.100.0/', '198.51.100.0/024', '/24', 'x/24']) {
    t.match(parsePrefix(text), { ok: false }, JSON.stringify(text))
  }
})
