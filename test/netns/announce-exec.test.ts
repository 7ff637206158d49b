// Announcements by other daemons, through the commands in deploy/: FRR, GoBGP and ExaBGP from Debian at one PoP, BIRD at the
// transit. The announcer of the built program is told what it would learn from a data path.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Running, until } from './net.js'
import { DEAD, fleetText, TestAnnouncer, WELL } from './support/announcer.js'
import { best, makeInternet, PREFIX4, PREFIX6 } from './support/bird.js'
import { isolated } from './support/isolate.js'
import type { Machine } from './support/machine.js'

const example = (name: string) => fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url))

interface Peer {
  readonly name: string
  readonly command: readonly string[]
  /** Starts it, or starts it again. */
  readonly start: (machine: Machine) => Promise<readonly Running[]>
}

const frr: Peer = {
  name: 'FRR',
  command: [example('announce-frr.sh'), '64500'],
  start: async (machine) => {
    mkdirSync('/run/frr', { recursive: true })
    await machine.run('chown', 'frr:frr', '/run/frr')
    await machine.run('rm', '-f', '/run/frr/zebra.vty', '/run/frr/bgpd.vty')
    writeFileSync('/run/zebra.conf', '')
    writeFileSync(
      '/run/bgpd.conf',
      `ip prefix-list anycast seq 5 permit ${PREFIX4}
ipv6 prefix-list anycast6 seq 5 permit ${PREFIX6}
router bgp 64500
 bgp router-id 10.1.0.11
 no bgp default ipv4-unicast
 bgp graceful-restart-disable
 neighbor 10.1.0.1 remote-as 64501
 neighbor 10.1.0.1 timers connect 1
 neighbor 2001:db8:1::1 remote-as 64501
 neighbor 2001:db8:1::1 timers connect 1
 address-family ipv4 unicast
  neighbor 10.1.0.1 activate
  neighbor 10.1.0.1 prefix-list anycast out
 exit-address-family
 address-family ipv6 unicast
  neighbor 2001:db8:1::1 activate
  neighbor 2001:db8:1::1 prefix-list anycast6 out
 exit-address-family
`,
    )
    const zebra = machine.start('/usr/lib/frr/zebra', '-f', '/run/zebra.conf')
    await until('zebra', () => existsSync('/run/frr/zebra.vty'), zebra.ended)
    const bgpd = machine.start('/usr/lib/frr/bgpd', '-f', '/run/bgpd.conf')
    await until('bgpd', () => existsSync('/run/frr/bgpd.vty'), bgpd.ended)
    return [bgpd, zebra]
  },
}

const gobgp: Peer = {
  name: 'GoBGP',
  command: [example('announce-gobgp.sh')],
  start: async (machine) => {
    const neighbour = (address: string, family: string) => `
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = 64501
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${family}-unicast"
`
    writeFileSync(
      '/run/gobgpd.toml',
      `[global.config]
  as = 64500
  router-id = "10.1.0.11"
${neighbour('10.1.0.1', 'ipv4')}${neighbour('2001:db8:1::1', 'ipv6')}`,
    )
    const daemon = machine.start('gobgpd', '-f', '/run/gobgpd.toml')
    await until(
      'gobgpd',
      async () =>
        machine.run('gobgp', 'global').then(
          () => true,
          () => false,
        ),
      daemon.ended,
    )
    return [daemon]
  },
}

const exabgp: Peer = {
  name: 'ExaBGP',
  command: [example('announce-exabgp.sh'), '64500'],
  start: async (machine) => {
    mkdirSync('/run/exabgp', { recursive: true })
    for (const end of ['in', 'out']) {
      if (!existsSync(`/run/exabgp/exabgp.${end}`)) {
        await machine.run('mkfifo', `/run/exabgp/exabgp.${end}`)
      }
    }
    const neighbour = (remote: string, local: string, family: string) => `
neighbor ${remote} {
  router-id 10.1.0.11;
  local-address ${local};
  local-as 64500;
  peer-as 64501;
  family { ${family} unicast; }
}
`
    writeFileSync(
      '/run/exabgp.conf',
      neighbour('10.1.0.1', '10.1.0.11', 'ipv4') +
        neighbour('2001:db8:1::1', '2001:db8:1::11', 'ipv6'),
    )
    const daemon = machine.start(
      'env',
      'exabgp_daemon_daemonize=false',
      'exabgp_daemon_user=root',
      'exabgp',
      '/run/exabgp.conf',
    )
    await daemon.says(/loaded new configuration successfully/)
    return [daemon]
  },
}

if (await isolated(t, import.meta.url, ['bird', 'vtysh', 'gobgpd', 'exabgp'])) {
  const { transits, ams } = await makeInternet()
  const [transit] = transits
  await ams.ip(
    'link add steady0 type veth peer name steady0p\nlink set steady0p up\nlink set steady0 up',
  )

  const chosen = async (pattern: RegExp | undefined) => {
    for (const prefix of [PREFIX4, PREFIX6]) {
      await until(`${pattern} for ${prefix} at t1: ${await best(transit, prefix)}`, async () => {
        const route = await best(transit, prefix)
        return pattern === undefined ? route === '' : pattern.test(route)
      })
    }
  }

  for (const peer of [frr, gobgp, exabgp]) {
    t.test(
      `${peer.name} announces, de-prefers and withdraws by its command, and again when it was restarted`,
      async (t) => {
        const daemons = await peer.start(ams)
        const lines = `  exec: { command: ${JSON.stringify(peer.command)}, repeat: 2s }
  announced: { communities: ["64500:100", "64500:1:2"] }
  de_preferred: { communities: ["64500:200"], prepend: [64500, 64500] }
  hold_down: 0s`
        const announcer = await TestAnnouncer.start(ams, fleetText(lines))
        t.same((await announcer.report()).trouble, undefined)
        announcer.tell(WELL)
        await chosen(/as_path: 64500\s[\s\S]*community: \(64500,100\)\s[\s\S]*\(64500, 1, 2\)/)
        announcer.tell({ ...WELL, node: 'draining' })
        await chosen(/as_path: 64500 64500 64500\s/)
        const route = await best(transit, PREFIX4)
        t.match(route, /\(65535,0\)/)
        t.match(route, /\(64500,200\)/)
        t.match(route, /local_pref: 0\s/)
        t.notMatch(route, /\(64500,100\)/)
        announcer.tell(DEAD)
        await chosen(undefined)
        announcer.tell(WELL)
        await chosen(/\(64500,100\)/)

        for (const daemon of daemons) await daemon.stop('SIGKILL')
        await chosen(undefined)
        await announcer.troubled(/announce-\w+\.sh.*" for \S+ announced (ended with|took longer)/)
        const again = await peer.start(ams)
        await chosen(/\(64500,100\)/)
        await announcer.troubled(undefined)

        announcer.running.child.kill('SIGKILL')
        await chosen(undefined)
        for (const daemon of again) await daemon.stop('SIGKILL')
      },
    )
  }
}
