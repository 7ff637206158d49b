// The parts of src/host that need no kernel: rules as text, capabilities, sentences, the order of taking back.

import t from 'tap'
import { Changes } from '../../../src/host/changes.js'
import { boundDevices, checkDeviceName } from '../../../src/host/device.js'
import { listed } from '../../../src/host/host-error.js'
import { missingCapabilities } from '../../../src/host/preconditions.js'
import { addressCommands, ruleArgs, rulesOfNode, sameRule } from '../../../src/host/vip-routing.js'

const vip = (address: string, local: boolean) => ({
  address,
  family: address.includes(':') ? (6 as const) : (4 as const),
  local,
})

t.test('a node without local backends has one rule for each VIP', async (t) => {
  const rules = rulesOfNode([vip('198.51.100.10', false), vip('2001:db8::1', false)], 'steady0')
  t.same(
    rules.map((rule) => [rule.family, ruleArgs(rule).join(' ')]),
    [
      [4, 'pref 1000 from all to 198.51.100.10 lookup 6080 protocol 60'],
      [6, 'pref 1000 from all to 2001:db8::1 lookup 6080 protocol 60'],
    ],
  )
})

t.test('local delivery moves table local behind the VIPs in its family only', async (t) => {
  const rules = rulesOfNode([vip('198.51.100.10', true), vip('2001:db8::1', false)], 'steady0')
  t.same(
    rules.map((rule) => [rule.family, ruleArgs(rule).join(' ')]),
    [
      [4, 'pref 1000 from all to 198.51.100.10 lookup 6080 protocol 60'],
      [6, 'pref 1000 from all to 2001:db8::1 lookup 6080 protocol 60'],
      [4, 'pref 900 from all iif steady0 lookup 255 protocol 60'],
      [4, 'pref 1100 from all lookup 255 protocol 60'],
    ],
  )
})

t.test('a rule is recognised by all that it says, and never one of another program', async (t) => {
  const [rule] = rulesOfNode([vip('198.51.100.10', false)], 'steady0')
  if (rule === undefined) throw new Error('there is a rule')
  const row = { priority: 1000, src: 'all', dst: '198.51.100.10', table: '6080', protocol: '60' }
  t.equal(sameRule(rule, row), true)
  for (const other of [
    { priority: 1001 },
    { src: '10.0.0.0' },
    { dst: '198.51.100.11' },
    { table: '254' },
    { protocol: '4' },
    { iif: 'steady0' },
  ]) {
    t.equal(sameRule(rule, { ...row, ...other }), false, JSON.stringify(other))
  }
})

t.test("a VIP's address is never chosen as a source by itself", async (t) => {
  const [add4] = addressCommands(vip('198.51.100.10', true), 'lo')
  const [add6] = addressCommands(vip('2001:db8::1', true), 'lo')
  t.equal(add4.join(' '), '-4 address add 198.51.100.10/32 dev lo scope host')
  t.match(add6.join(' '), /^-6 address add 2001:db8::1\/128 dev lo nodad .*preferred_lft 0$/)
})

t.test('missing capabilities are read from CapEff', async (t) => {
  const status = (hex: string) => `CapPrm:\t000001ffffffffff\nCapEff:\t${hex}\nCapBnd:\t0\n`
  t.same(missingCapabilities(status('000001ffffffffff')), [])
  t.same(missingCapabilities(status('0000000000003000')), [])
  t.same(missingCapabilities(status('0000000000001000')), ['CAP_NET_RAW'])
  t.same(missingCapabilities(status('0000000000000000')), ['CAP_NET_ADMIN', 'CAP_NET_RAW'])
  t.same(missingCapabilities(''), ['CAP_NET_ADMIN', 'CAP_NET_RAW'])
})

t.test('packet sockets are found by the index of their device', async (t) => {
  const text = `sk               RefCnt Type Proto  Iface R Rmem   User   Inode
0000000000000000 3      3    0003   42    1 0      0      123
0000000000000000 3      3    88cc   0     1 0      0      124
`
  t.same(boundDevices(text), [42])
  t.same(boundDevices(''), [])
})

t.test('device names that the kernel or a path would misread are refused', async (t) => {
  for (const name of ['steady0', 'a.b', 'x', 'abcdefghijklmn']) checkDeviceName(name)
  for (const name of ['', '.', '..', 'a/b', 'a b', '%d', '-x', 'abcdefghijklmno']) {
    t.throws(() => checkDeviceName(name), { message: /^--device: got .*, expected at most 14/ })
  }
})

t.test('lists read like sentences', async (t) => {
  t.equal(listed([]), 'none')
  t.equal(listed(['a']), 'a')
  t.equal(listed(['a', 'b', 'c']), 'a, b and c')
  t.equal(listed(['a', 'b', 'c', 'd'], 2), 'a, b and 2 more')
})

t.test(
  'changes are taken back in reverse, each tried whatever happens to the others',
  async (t) => {
    const done: string[] = []
    const failed: string[] = []
    const filled = () => {
      const changes = new Changes()
      const step = (name: string, options = {}) =>
        changes.add(name, () => void done.push(name), options)
      step('made')
      step('found', { origin: 'adopted' })
      changes.add('broken', () => Promise.reject(new Error('no')))
      step('guard', { stays: true })
      return changes
    }
    await filled().takeBack('stop', (what) => failed.push(what))
    t.same(done.splice(0), ['found', 'made'], 'a stop leaves what stays')
    await filled().takeBack('failed start', (what) => failed.push(what))
    t.same(done, ['guard', 'made'], 'a failed start leaves what it found')
    t.same(failed, ['broken', 'broken'])
  },
)
