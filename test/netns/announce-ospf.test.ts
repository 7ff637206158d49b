// Announcements within one network: a node whose BIRD speaks OSPF with a router, deploy/bird.example.conf's include and all.

import t from 'tap'
import { until } from './net.js'
import { DEAD, fleetText, TestAnnouncer, WELL } from './support/announcer.js'
import { Bird, best, makeInternet, PREFIX4, PREFIX6 } from './support/bird.js'
import { isolated } from './support/isolate.js'

/** What docs/announcing.md shows. */
const EXPORT = `filter to_ospf {
      if proto !~ "steadycast_*" then reject;
      ospf_metric2 = 100;
      if (65535, 0) ~ bgp_community then ospf_metric2 = 10000;
      accept;
    }`

const config = (id: string, iface: string, more: string) => `
    log stderr all;
    router id ${id};
    protocol device {}
    ${more}
    ${EXPORT}
    protocol ospf v2 ospf4 {
      ipv4 { export filter to_ospf; };
      area 0 { interface "${iface}" { type ptp; hello 1; dead 4; }; };
    }
    protocol ospf v3 ospf6 {
      ipv6 { export filter to_ospf; };
      area 0 { interface "${iface}" { type ptp; hello 1; dead 4; }; };
    }`

if (await isolated(t, import.meta.url, ['bird'])) {
  const { t1, ams } = await makeInternet()
  await ams.ip(
    'link add steady0 type veth peer name steady0p\nlink set steady0p up\nlink set steady0 up',
  )
  await t1.run('birdc', '-s', '/run/bird-t1.ctl', 'down')
  const router = await Bird.start(t1, config('10.99.0.1', 'ams', ''))
  const own = await Bird.start(
    ams,
    config('10.1.0.11', 't1', 'include "/run/steadycast*/*.bird.conf";'),
  )

  t.test('over OSPF a prefix is announced, de-preferred by its metric, and withdrawn', async () => {
    const announcer = await TestAnnouncer.start(
      ams,
      fleetText(`  bird: ${own.socket}\n  hold_down: 0s`),
    )
    const chosen = async (pattern: RegExp | undefined) => {
      for (const prefix of [PREFIX4, PREFIX6]) {
        await until(`${pattern} for ${prefix}: ${await best(router, prefix)}`, async () => {
          const route = await best(router, prefix)
          return pattern === undefined ? route === '' : pattern.test(route)
        })
      }
    }
    announcer.tell(WELL)
    await chosen(/OSPF\.metric2: 100\s/)
    announcer.tell({ ...WELL, node: 'draining' })
    await chosen(/OSPF\.metric2: 10000\s/)
    announcer.tell(DEAD)
    await chosen(undefined)
    announcer.tell(WELL)
    await chosen(/OSPF\.metric2: 100\s/)
    await own.running.stop('SIGKILL')
    await chosen(undefined)
  })
}
