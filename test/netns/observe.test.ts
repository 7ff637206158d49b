// `steadycast observe` on real kernels, where two PoPs serve a VIP without Steadycast: what it counts is what was done.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Observation } from '../../src/observe/report.js'
import { Net, needsNamespaces, type Running, until, VIP4, VIP6 } from './net.js'

const GRACE_S = 3
const SWITCHED = 5
/** SC_OBSERVE_STALL_MS of native/observe.h. */
const STALL_MS = 10_000

const passed = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** An endless upload. */
function upload(net: Net, vip: string): Running {
  const command = `exec curl -gsS --limit-rate 20k -o /dev/null -T - http://${vip}/ < /dev/zero`
  return net.start('c', 'sh', '-c', command)
}

t.test(
  'switched and stalled connections are counted, those that were open before are not',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    for (const ns of ['ams', 'nyc']) {
      await net.sh(
        `ip -n ${ns} address add ${VIP4}/32 dev lo; ip -n ${ns} address add ${VIP6}/128 dev lo nodad`,
      )
      await net.serve(ns)
    }
    await net.sh(
      `ip netns exec nyc nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in tcp dport 81 drop'`,
    )
    await net.routeVips('nyc')
    await net.sh(`ip route replace ${VIP6} via 2001:db8:1::1`)
    const old = upload(net, VIP4)
    const moving = Array.from({ length: SWITCHED }, () => upload(net, `[${VIP6}]`))
    const established = async (ns: string) =>
      (await net.sh(`ip netns exec ${ns} ss -Htn state established sport = :80 | wc -l`)).trim()
    await until('the connections to be open', async () => {
      return (await established('nyc')) === '1' && (await established('ams')) === `${SWITCHED}`
    })

    const svg = join(net.dir, 'seen.svg')
    const watching = net.steadycast(
      'nyc',
      ...['observe', '--device', 'nyc-r', '--vip', `${VIP4},2001:db8:ffff::/48`],
      ...['--grace', `${GRACE_S}`, '--json', '--svg', svg],
    )
    await until('the watching to begin', () =>
      /watching nyc-r until a signal/.test(watching.stderr),
    )
    await passed((GRACE_S + 1) * 1000)
    await net.sh(`ip route replace ${VIP6} via 2001:db8:2::2`).catch(() => {})
    await net.sh(`ip route replace ${VIP6} via 2001:db8:2::1`)
    for (const { ended } of moving) await ended
    await net.sh(`ip netns exec c curl -sS -m 4 http://${VIP4}:81/ || true`)
    t.equal(
      await net.sh(
        `ip netns exec c curl -sS -o /dev/null -w '%{size_download}' http://${VIP4}/1000`,
      ),
      '1000',
    )
    await passed(STALL_MS + 1000)
    watching.child.kill('SIGINT')
    const { code, stdout, stderr } = await watching.ended
    await old.stop('SIGKILL')
    t.equal(code, 0, stderr)
    const seen = JSON.parse(stdout) as Observation
    t.match(seen, {
      from: 'nyc-r',
      vips: [VIP4, '2001:db8:ffff::/48'],
      begun: 2,
      middle: SWITCHED,
      wentOn: 0,
      stalled: 1,
      repeated: 1,
      before: 1,
      pending: 0,
      unfollowed: 0,
      unplaced: 0,
      lost: 0,
    })
    t.match(seen.prefixes, [
      { prefix: '2001:db8::/48', middle: SWITCHED, begun: 0 },
      { prefix: '10.0.0.0/24', begun: 2, stalled: 1 },
    ])
    const inTime = seen.columns.findIndex(({ middle }) => middle > 0)
    t.ok(inTime * seen.columnS >= GRACE_S, 'the picture over time has them after the grace')
    t.match(readFileSync(svg, 'utf8'), /5 arrived in the middle/)
  },
)
