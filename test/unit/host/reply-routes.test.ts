// Which routes are copied for replies, from rows as `ip -j route` prints them. The kernel's part is in test/netns.

import t from 'tap'
import { type RouteRow, routeText, tableSteps } from '../../../src/host/reply-routes.js'

const copy = (row: RouteRow, family: 4 | 6 = 4, mss: number | undefined = 1360) =>
  routeText(row, family, 'steady0', mss)

t.test('a route is copied with a small MSS and what else it says', async (t) => {
  const eth0 = { dev: 'eth0' }
  for (const [row, family, text] of [
    [
      { dst: 'default', gateway: '192.0.2.1', ...eth0 },
      4,
      'default via 192.0.2.1 dev eth0 onlink advmss 1360',
    ],
    [{ dst: '192.0.2.0/24', ...eth0 }, 4, '192.0.2.0/24 dev eth0 scope link advmss 1360'],
    [
      { dst: '2001:db8::/64', metric: 256, ...eth0 },
      6,
      '2001:db8::/64 metric 256 dev eth0 advmss 1360',
    ],
    [
      { dst: '10.0.0.0/8', via: { family: 'inet6', host: 'fe80::1' }, ...eth0 },
      4,
      '10.0.0.0/8 via inet6 fe80::1 dev eth0 onlink advmss 1360',
    ],
    [
      {
        dst: '10.0.0.0/8',
        tos: '0x10',
        metric: 5,
        metrics: [{ mtu: 1400 }, { advmss: 1000 }],
        ...eth0,
      },
      4,
      '10.0.0.0/8 tos 0x10 metric 5 dev eth0 scope link mtu 1400 advmss 1000',
    ],
    [
      {
        dst: 'default',
        nexthops: [
          { gateway: '10.0.0.1', weight: 2, ...eth0 },
          { gateway: '10.0.0.2', dev: 'eth1' },
        ],
      },
      4,
      'default advmss 1360 nexthop via 10.0.0.1 dev eth0 onlink weight 2 nexthop via 10.0.0.2 dev eth1 onlink weight 1',
    ],
    [{ type: 'unreachable', dst: '10.0.0.0/8' }, 4, 'unreachable 10.0.0.0/8'],
  ] as const) {
    t.equal(copy(row as RouteRow, family), text)
  }
})

t.test('a tunnelled route is left to main', async (t) => {
  t.equal(copy({ dst: '10.0.0.0/8', dev: 'eth0', encap: 'ip' }), 'throw 10.0.0.0/8')
})

t.test('what no reply takes is not copied', async (t) => {
  for (const [row, family] of [
    [{ dst: '198.51.100.10', dev: 'steady0' }, 4],
    [{ dst: 'fe80::/64', dev: 'eth0' }, 6],
    [{ dst: 'ff00::/8', dev: 'eth0' }, 6],
    [{ type: 'multicast', dst: '224.0.0.0/4', dev: 'eth0' }, 4],
    [{ type: 'unreachable', dst: 'default', dev: 'lo', metric: 0xffffffff }, 6],
    [{ dst: '10.0.0.0/8', dev: 'eth0', flags: ['dead', 'linkdown'] }, 4],
  ] as const) {
    t.equal(copy(row as RouteRow, family), undefined, row.dst)
  }
})

t.test('a copy read back is the same text, so that nothing is changed twice', async (t) => {
  const copied: RouteRow = {
    dst: 'default',
    gateway: '192.0.2.1',
    dev: 'eth0',
    flags: ['onlink'],
    metrics: [{ advmss: 1360 }],
  }
  const text = 'default via 192.0.2.1 dev eth0 onlink advmss 1360'
  t.equal(routeText(copied, 4, 'steady0', undefined), text)
  t.equal(copy({ dst: 'default', gateway: '192.0.2.1', dev: 'eth0' }), text)
})

t.test('a table is changed only where it differs', async (t) => {
  t.same(tableSteps(['a', 'b'], ['b', 'c', 'c']), { remove: ['a'], add: ['c'] })
  t.same(tableSteps(['a'], ['a']), { remove: [], add: [] })
})
