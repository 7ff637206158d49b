// `steadycast explain` of nodes that run, by loopback and by socket: what it says of a living connection is true, and asking leaves no trace.

import t from 'tap'
import type { Explanation } from '../../src/explain/explanation.js'
import { parseMetrics } from '../support/prometheus.js'
import { Net, needsNamespaces, until, VIP4 } from './net.js'

async function explained(
  net: Net,
  ns: string,
  packet: string,
  flags: string,
): Promise<Explanation> {
  const whom = ns === 'ams' ? ['--admin', 'http://127.0.0.1:6080'] : ['--node', `${ns}-1`]
  const args = ['explain', ...whom, '--json', '--flags', flags, packet]
  const { code, stdout, stderr } = await net.steadycast(ns, ...args).ended
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Explanation
}

/** What packets were counted, of those that nobody but a client causes. */
async function packetsOf(net: Net, ns: string): Promise<readonly unknown[]> {
  const text = await net.sh(`ip netns exec ${ns} curl -sS http://127.0.0.1:6080/metrics`)
  return parseMetrics(text)
    .filter(({ name }) => /dropped|new_flows|service_packets|backend_packets/.test(name))
    .map(({ name, metrics }) => ({ name, metrics }))
}

t.test(
  'a live node explains a living connection at every PoP, and goes on as if not asked',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    await Promise.all([net.serve('web'), net.serve('nyc')])
    const [ams] = await Promise.all([
      net.up('ams', 'run', '--config', 'fleet.yaml', '--node', 'ams-1'),
      net.up('nyc', 'run', '--config', 'fleet.yaml', '--node', 'nyc-1'),
      net.up('web', 'backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'),
    ])
    await ams.says(/peer nyc-1 is up/)
    await net.routeVips('ams')
    const client = net.start(
      'c',
      'sh',
      '-c',
      `exec curl -gsS --local-port 40000 --limit-rate 1M -o /dev/null -T - http://${VIP4}/ < /dev/zero`,
    )
    const packet = `tcp 10.0.0.2:40000 > ${VIP4}:80`
    const ask = (ns: string) => explained(net, ns, packet, 'ack')
    const known = async () => {
      const [here, there] = [await ask('ams'), await ask('nyc')]
      return here.flow?.entry?.state === 'established' && there.flow?.entry != null
    }
    await until('the flow to be known in both PoPs', known, client.ended)
    t.match(await ask('ams'), {
      node: 'ams-1',
      source: 'live',
      flow: {
        service: 'web',
        homes: [
          { pop: 'ams', home: 'ams-1' },
          { pop: 'nyc', home: 'nyc-1' },
        ],
        entry: { backend: 'ams-web-1', pop: 'ams', owner: 'ams-1', cached: false },
        certainty: { filled: true, certain: true },
      },
      leaves: [{ egress: 'wire', to: 'ams-web-1', gue: { verb: 'plain' } }],
      result: { kind: 'left', exits: ['delivered_gue'] },
    })
    const before = [await packetsOf(net, 'ams'), await packetsOf(net, 'nyc')]
    t.match(await ask('nyc'), {
      node: 'nyc-1',
      flow: { entry: { backend: 'ams-web-1', owner: 'ams-1' }, maglev: { backend: 'nyc-web-1' } },
      leaves: [{ to: 'ams-1', gue: { verb: 'FORWARD', backend: 'ams-web-1' } }],
      result: { kind: 'left', exits: ['forwarded'] },
    })
    t.match(await explained(net, 'nyc', `tcp 10.0.0.2:40001 > ${VIP4}:80`, 'syn'), {
      flow: { entry: null, entryAfter: { backend: 'nyc-web-1', state: 'half-open' } },
      result: { exits: ['delivered_local'] },
    })
    t.match(await explained(net, 'nyc', `tcp 10.0.0.2:40001 > ${VIP4}:80`, 'syn'), {
      flow: { entry: null },
    })
    t.same(
      await packetsOf(net, 'nyc'),
      before[1],
      'nothing was counted at nyc, which gets no packets',
    )
    t.equal(client.child.exitCode, null, 'the connection goes on')

    // The other PoP dies: what was forwarded is not any more, and the reason is told.
    await ams.stop('SIGKILL')
    await until('nyc to notice', async () => (await ask('nyc')).flow?.homes[0]?.home === null)
    t.match(await ask('nyc'), {
      flow: { entry: { owner: null } },
      result: { kind: 'dropped', reason: 'peer_unreachable', advice: /steadycast doctor/ },
    })
    await client.stop('SIGKILL')
  },
)
