// The SipHash that checks the node's tags, against the reference implementation's vectors.

import t from 'tap'
import { hex } from '../../vectors/bytes.js'
import { sipHash, sipHashBytes } from '../../vectors/siphash.js'

const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i)

t.test('SipHash-2-4 gives the value worked out in appendix A of the paper', async (t) => {
  t.equal(sipHash(counting(16), counting(15)), 0xa129ca6149be45e5n)
})

/** github.com/veorq/SipHash, vectors.h: key 00..0f, messages 00.. of these lengths. */
const REFERENCE: Readonly<Record<number, string>> = {
  0: '310e0edd47db6f72',
  1: 'fd67dc93c539f874',
  2: '5a4fa9d909806c0d',
  3: '2d7efbd796666785',
  4: 'b7877127e09427cf',
  5: '8da699cd64557618',
  6: 'cee3fe586e46c9cb',
  7: '37d1018bf50002ab',
  8: '6224939a79f5f593',
  9: 'b0e4a90bdf82009e',
  15: 'e545be4961ca29a1',
  16: 'db9bc2577fcc2a3f',
  17: '9447be2cf5e99a69',
  61: 'f325965ca16d629f',
  62: '575ff28e60381be5',
  63: '724506eb4c328a95',
}

t.test('SipHash-2-4 writes the bytes of the reference implementation', async (t) => {
  for (const [length, expected] of Object.entries(REFERENCE)) {
    t.equal(hex(sipHashBytes(counting(16), counting(Number(length)))), expected, `${length} bytes`)
  }
})

t.test('a key of another length than 16 bytes is refused', async (t) => {
  t.throws(() => sipHash(counting(15), counting(3)), { message: /16 bytes, got 15/ })
})
