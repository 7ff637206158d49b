// How long it takes from a change that the node knows of until a neighbour's kernel forwards otherwise, in parts, as
// docs/announcing.md quotes it: `npx tap test/netns/announce-time.test.ts` prints the figures. It holds no one to them.

import t from 'tap'
import { DEAD, fleetText, TestAnnouncer, WELL } from './support/announcer.js'
import { Bird, makeInternet, PREFIX4, popConfig, RouteWatch } from './support/bird.js'
import { isolated } from './support/isolate.js'
import type { Machine } from './support/machine.js'

const ROUNDS = 15

async function startPop(machine: Machine) {
  await machine.ip(
    'link add steady0 type veth peer name steady0p\nlink set steady0p up\nlink set steady0 up',
  )
  const bird = await Bird.start(
    machine,
    await popConfig(machine, `/run/steadycast-${machine.name}`),
  )
  const text = fleetText(`  bird: ${bird.socket}\n  hold_down: 0s`)
  return { bird, announcer: await TestAnnouncer.start(machine, text) }
}

/** When BIRD last switched the protocol. */
async function switchedMs(bird: Bird): Promise<number> {
  const shown = await bird.ask('show protocols "steadycast_198_51_100_0_24"')
  const [, clock] = /(\d\d:\d\d:\d\d\.\d{3})/.exec(shown) ?? []
  const now = new Date()
  const day = `${now.getFullYear()}-${now.getMonth() + 1}-${now.getDate()}`
  return Date.parse(`${day} ${clock}`)
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

if (await isolated(t, import.meta.url, ['bird'])) {
  const { t1, ams: amsMachine, nyc: nycMachine } = await makeInternet()
  const ams = await startPop(amsMachine)
  const nyc = await startPop(nycMachine)
  const watch = await RouteWatch.start(t1)
  nyc.announcer.tell(WELL)
  await watch.movedMs(PREFIX4, 0)

  t.test('each change of state moves the neighbour, and how long it took is told', async (t) => {
    for (const [verb, inputs] of [
      ['announce', WELL],
      ['withdraw', DEAD],
    ] as const) {
      const parts = { decision: [] as number[], convergence: [] as number[] }
      for (let round = 0; round < ROUNDS; round++) {
        ams.announcer.tell(verb === 'announce' ? DEAD : WELL)
        await ams.announcer.reaches(verb === 'announce' ? 'withdrawn' : 'announced')
        await new Promise((resolve) => setTimeout(resolve, 300))
        const before = ams.announcer.said.length
        ams.announcer.tell(inputs)
        await ams.announcer.reaches(verb === 'announce' ? 'announced' : 'withdrawn')
        const said = ams.announcer.said.slice(before).find(({ kind }) => kind === 'input')
        const toldMs = said?.ms ?? Number.NaN
        const birdMs = await switchedMs(ams.bird)
        const movedMs = await watch.movedMs(PREFIX4, toldMs)
        parts.decision.push(birdMs - toldMs)
        parts.convergence.push(movedMs - birdMs)
      }
      const [decision, convergence] = [median(parts.decision), median(parts.convergence)]
      t.ok(
        Number.isFinite(decision) && Number.isFinite(convergence),
        `${verb}: every part was seen`,
      )
      t.comment(
        `${verb}: decision until BIRD switched ${decision} ms, until the neighbour forwarded otherwise ${convergence} ms more (medians of ${ROUNDS})`,
      )
    }
  })
}
