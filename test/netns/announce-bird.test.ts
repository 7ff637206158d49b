// Announcements by real BIRDs: two PoPs and two transits that choose best paths. The announcer of the built program is told
// what it would learn from a data path; announce-run.test.ts has the whole program.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { until } from './net.js'
import { DEAD, fleetText, TestAnnouncer, WELL } from './support/announcer.js'
import { Bird, best, makeInternet, PREFIX4, PREFIX6, popConfig } from './support/bird.js'
import { isolated } from './support/isolate.js'
import type { Machine } from './support/machine.js'

const PREFIXES = [PREFIX4, PREFIX6]

async function startPop(machine: Machine, lines: string, scope = '') {
  await machine.ip(
    'link add steady0 type veth peer name steady0p\nlink set steady0p up\nlink set steady0 up',
  )
  const bird = await Bird.start(
    machine,
    await popConfig(machine, `/run/steadycast-${machine.name}`),
  )
  const text = (own: string) => fleetText(`  bird: ${bird.socket}\n${own}`, scope)
  return { bird, text, announcer: await TestAnnouncer.start(machine, text(lines)) }
}

const LINES = `  announced: { communities: ["64500:100", "64500:1:2"] }
  de_preferred: { communities: ["64500:200"], prepend: [64500, 64500], for: 3s }
  hold_down: 2s`

if (await isolated(t, import.meta.url, ['bird'])) {
  const { t1, transits, ams: amsMachine, nyc: nycMachine } = await makeInternet()
  const ams = await startPop(amsMachine, LINES)
  const nyc = await startPop(nycMachine, LINES)

  /** What t1 chose for both prefixes. */
  const chosen = async (pattern: RegExp | undefined) => {
    for (const prefix of PREFIXES) {
      await until(
        `${pattern} for ${prefix} at t1: ${await best(transits[0], prefix)}`,
        async () => {
          const route = await best(transits[0], prefix)
          return pattern === undefined ? route === '' : pattern.test(route)
        },
      )
    }
  }
  const viaAms = /BGP\.as_path: 64500\s/
  const viaNyc = /BGP\.as_path: 64502 64500\s/

  t.test('before a node is able, nothing is announced; then its prefixes are', async (t) => {
    t.equal(await best(transits[0], PREFIX4), '')
    const { prefixes } = await ams.announcer.report()
    t.match(prefixes, [{ state: 'withdrawn', why: 'this node is starting' }, {}])
    ams.announcer.tell(WELL)
    nyc.announcer.tell(WELL)
    await chosen(viaAms)
    const route = await best(transits[0], PREFIX4)
    t.match(route, /BGP\.community: \(64500,100\)/)
    t.match(route, /BGP\.large_community: \(64500, 1, 2\)/)
    t.notMatch(route, /65535,0/)
    await until('nyc at t2', async () => viaAms.test(await best(transits[1], PREFIX4)))
    t.match(await amsMachine.run('ip', 'route', 'get', '198.51.100.77'), /dev steady0/)
  })

  t.test('what is not served from here, but elsewhere, is withdrawn, and held down', async (t) => {
    ams.announcer.tell(DEAD)
    await chosen(viaNyc)
    ams.announcer.tell(WELL)
    const { prefixes } = await ams.announcer.report()
    t.match(prefixes[0], {
      state: 'withdrawn',
      wanted: 'announced',
      why: /^held down for \d s more; /,
    })
    await chosen(viaAms)
  })

  t.test(
    'a node that drains is de-preferred, then withdraws; ready, it is back at once',
    async (t) => {
      ams.announcer.tell({ ...WELL, node: 'draining' })
      await chosen(viaNyc)
      const own = await transits[0].ask(`show route all ${PREFIX4} protocol customer_4`)
      t.match(own, /BGP\.as_path: 64500 64500 64500\s/, 'prepended twice')
      t.match(own, /BGP\.local_pref: 0\s/, 'the neighbour honours RFC 8326')
      t.match(own, /BGP\.community: \(64500,200\) \(65535,0\)\s/)
      await ams.announcer.reaches('withdrawn')
      await until('a withdrawal at t1', async () => {
        const text = await transits[0]
          .ask(`show route ${PREFIX4} protocol customer_4`)
          .catch(() => '')
        return !text.includes(PREFIX4)
      })
      ams.announcer.tell(WELL)
      await chosen(viaAms)
    },
  )

  t.test('going from announced to de-preferred is no withdrawal', async (t) => {
    nyc.announcer.tell({ ...WELL, node: 'maintenance' })
    await nyc.announcer.reaches('withdrawn')
    const watch = t1.start('ip', '-o', 'monitor', 'route')
    ams.announcer.tell({ ...WELL, node: 'draining' })
    await chosen(/65535,0/)
    ams.announcer.tell(WELL)
    await chosen(/64500,100/)
    await watch.stop()
    t.notMatch(watch.stdout, /Deleted 198\.51\.100\.0\/24/)
    nyc.announcer.tell(WELL)
    await nyc.announcer.reaches('announced')
  })

  t.test('a node in maintenance withdraws at once', async () => {
    ams.announcer.tell({ ...WELL, node: 'maintenance' })
    await chosen(viaNyc)
    ams.announcer.tell(WELL)
    await chosen(viaAms)
  })

  t.test('when nothing is served anywhere, all stay announced, and say so', async (t) => {
    const nowhere = { ...DEAD, elsewhere: [] }
    ams.announcer.tell(nowhere)
    nyc.announcer.tell(nowhere)
    const { prefixes } = await ams.announcer.report()
    t.match(prefixes[0], { state: 'announced', wanted: 'withdrawn', lastAnnouncer: true })
    await chosen(viaAms)
    t.ok(
      ams.announcer.said.some(
        ({ kind, message }) =>
          kind === 'warn' && /stays, because a check may be wrong/.test(message),
      ),
      'a warning in the log',
    )
    ams.announcer.tell(WELL)
    nyc.announcer.tell(WELL)
  })

  t.test('a local node is not heard beyond its neighbour', async () => {
    nyc.announcer.tell({ ...WELL, node: 'maintenance' })
    await until('ams at t2', async () => /64501 64500/.test(await best(transits[1], PREFIX4)))
    ams.announcer.tell({
      fleet: fleetText(`  bird: ${ams.bird.socket}\n${LINES}`, '\n      scope: local'),
    })
    await until('nothing at t2', async () => (await best(transits[1], PREFIX4)) === '')
    await chosen(/65535,65281/)
    ams.announcer.tell({ fleet: ams.text(LINES) })
    await until('ams at t2', async () => /64501 64500/.test(await best(transits[1], PREFIX4)))
    nyc.announcer.tell(WELL)
    await nyc.announcer.reaches('announced')
  })

  t.test('a BIRD that is killed and started again announces what it should', async () => {
    await ams.bird.running.stop('SIGKILL')
    await chosen(viaNyc)
    await ams.announcer.troubled(/BIRD is not running/)
    ams.announcer.tell({ ...WELL, node: 'maintenance' })
    await ams.bird.restart()
    await ams.announcer.troubled(undefined)
    await chosen(viaNyc)
    ams.announcer.tell(WELL)
    await chosen(viaAms)
    await ams.bird.running.stop('SIGKILL')
    await ams.bird.restart()
    await chosen(viaAms)
  })

  t.test(
    'a broken bird.conf neither prevents a withdrawal nor comes into force by it',
    async (t) => {
      ams.bird.edit((config) => `${config}\nbroken {\n`)
      ams.announcer.tell({ ...WELL, node: 'maintenance' })
      await chosen(viaNyc)
      ams.announcer.tell(WELL)
      await chosen(viaAms)
      await ams.announcer.troubled(undefined)
      ams.announcer.tell({ fleet: ams.text(LINES.replace('64500:100', '64500:300')) })
      await ams.announcer.troubled(
        /refuses its configuration: .*bird-ams\.conf:\d+:\d+ syntax error/,
      )
      await chosen(/64500,100/)
      ams.bird.edit((config) => config.replace('\nbroken {\n', ''))
      await ams.announcer.troubled(undefined)
      await chosen(/64500,300/)
      t.ok(
        ams.announcer.said.some(({ message }) => /does as told again/.test(message)),
        'the end of the trouble is in the log',
      )
      ams.announcer.tell({ fleet: ams.text(LINES) })
      await chosen(/64500,100/)
    },
  )

  t.test("an operator's own configure changes nothing of what is announced", async (t) => {
    const since = await transits[0].ask(`show route ${PREFIX4} protocol customer_4`)
    await ams.bird.ask('configure')
    await ams.announcer.troubled(undefined)
    t.equal(await transits[0].ask(`show route ${PREFIX4} protocol customer_4`), since)
  })

  t.test('without its include line BIRD is reported with what to add', async () => {
    let line = ''
    ams.bird.edit((config) => {
      line = config.split('\n').find((one) => one.startsWith('include')) ?? ''
      return config.replace(line, '')
    })
    await ams.bird.ask('configure')
    await ams.announcer.troubled(/lacks the line: include ".*ams-1\.bird\.conf"/)
    await chosen(viaNyc)
    ams.bird.edit((config) => config.replace('protocol device {}', `protocol device {}\n${line}`))
    await ams.bird.ask('configure')
    await ams.announcer.troubled(undefined)
    await chosen(viaAms)
  })

  t.test('a BIRD that hangs is reported, and does as told when it goes on', async () => {
    ams.bird.running.child.kill('SIGSTOP')
    ams.announcer.tell({ ...WELL, node: 'maintenance' })
    await ams.announcer.troubled(/does not answer .* within 5 s/)
    ams.bird.running.child.kill('SIGCONT')
    await ams.announcer.troubled(undefined)
    await chosen(viaNyc)
    ams.announcer.tell(WELL)
    await chosen(viaAms)
  })

  t.test('a socket that may not be used is reported', async () => {
    await amsMachine.run('mv', ams.bird.socket, `${ams.bird.socket}.away`)
    await ams.announcer.troubled(/is not there: is BIRD running/)
    await amsMachine.run('mv', `${ams.bird.socket}.away`, ams.bird.socket)
    await ams.announcer.troubled(undefined)
  })

  t.test('without its device BIRD has no route, and that is reported', async () => {
    await amsMachine.ip('link set steady0 down')
    await chosen(viaNyc)
    await ams.announcer.troubled(/does not see the device steady0 up/)
    await amsMachine.ip('link set steady0 up')
    await chosen(viaAms)
    await ams.announcer.troubled(undefined)
  })

  t.test(
    'an announcer that stands still is withdrawn by its guardian, and comes back',
    async () => {
      ams.announcer.running.child.kill('SIGSTOP')
      await chosen(viaNyc)
      ams.announcer.running.child.kill('SIGCONT')
      await chosen(viaAms)
    },
  )

  t.test('a killed announcer leaves nothing announced, although its device stays', async (t) => {
    ams.announcer.running.child.kill('SIGKILL')
    await chosen(viaNyc)
    const include = '/run/steadycast-ams/ams-1.bird.conf'
    await until('a silent include', () => !/disabled off/.test(readFileSync(include, 'utf8')))
    await ams.bird.running.stop('SIGKILL')
    await ams.bird.restart()
    await chosen(viaNyc)
    t.match(await ams.bird.ask('show protocols "steadycast_*"'), /down/)
    t.notMatch(await ams.bird.ask('show protocols "steadycast_*"'), / up /)
  })

  t.test(
    'one that was killed is held down when it starts again, one that was stopped is not',
    async (t) => {
      const again = await TestAnnouncer.start(amsMachine, ams.text(LINES))
      again.tell(WELL)
      const { prefixes } = await again.report()
      t.match(prefixes[0], {
        state: 'withdrawn',
        wanted: 'announced',
        why: /^held down for \d s more/,
      })
      await chosen(viaAms)
      again.tell({ stop: true })
      await chosen(viaNyc)
      again.running.child.stdin?.end()
      await again.running.ended
      const third = await TestAnnouncer.start(amsMachine, ams.text(LINES))
      third.tell(WELL)
      t.match((await third.report()).prefixes[0], { state: 'announced' })
      third.tell({ ...WELL, node: 'maintenance' })
      await third.reaches('withdrawn')
    },
  )

  t.test('a stop withdraws first', async (t) => {
    nyc.announcer.tell({ stop: true })
    await chosen(undefined)
    t.match((await nyc.bird.ask('show protocols "steadycast_*"')).match(/ up /g), null)
  })
}
