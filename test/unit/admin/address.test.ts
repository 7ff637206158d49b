// The value of --admin.

import t from 'tap'
import { parseAdminAddress } from '../../../src/admin/address.js'
import { adminUrl } from '../../../src/fleet/admin-address.js'

t.test('a loopback address and a port are taken as they are', async (t) => {
  for (const [text, host, port, url] of [
    ['127.0.0.1:6080', '127.0.0.1', 6080, 'http://127.0.0.1:6080'],
    ['127.1.2.3:0', '127.1.2.3', 0, 'http://127.1.2.3:0'],
    ['[::1]:65535', '::1', 65535, 'http://[::1]:65535'],
    ['[0:0:0:0:0:0:0:1]:1', '::1', 1, 'http://[::1]:1'],
  ] as const) {
    const address = parseAdminAddress(text, false)
    t.same(address, { host, port }, text)
    t.equal(adminUrl(address), url)
  }
})

t.test('what is no address with a port is refused with an example', async (t) => {
  for (const text of [
    '',
    '6080',
    ':6080',
    'localhost:6080',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:http',
    '127.0.0.1:-1',
    '127.0.0.256:80',
    '::1:6080',
    '[::1]',
    '[127.0.0.1]:80',
    '[::1%lo]x:80',
    ' 127.0.0.1:80',
  ]) {
    t.throws(
      () => parseAdminAddress(text, true),
      { message: /^--admin: got ".*", expected an address and a port, such as 127\.0\.0\.1:6080/ },
      text,
    )
  }
})

t.test('an address that other machines reach needs a token, and says so', async (t) => {
  for (const text of [
    '0.0.0.0:80',
    '192.0.2.1:80',
    '[::]:80',
    '[2001:db8::1]:80',
    '[::2]:80',
    '[1::1]:80',
  ]) {
    t.throws(
      () => parseAdminAddress(text, false),
      {
        message:
          /can be reached from other machines, expected a loopback address, or a token .*token_file/,
      },
      text,
    )
    t.equal(adminUrl(parseAdminAddress(text, true)), `http://${text}`)
  }
})
