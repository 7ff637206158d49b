// The packet vectors against the real node: what leaves is what the encoder of test/vectors made from the page.

import t, { type Test } from 'tap'
import { moved } from '../../vectors/bench.js'
import { hex } from '../../vectors/bytes.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, type Vector } from '../../vectors/vector.js'
import { fleetVectors } from '../../vectors/vectors-fleet.js'
import { reachVectors } from '../../vectors/vectors-reach.js'
import { relayVectors } from '../../vectors/vectors-relay.js'
import { serviceVectors } from '../../vectors/vectors-service.js'
import { spillVectors } from '../../vectors/vectors-spill.js'
import { stateVectors } from '../../vectors/vectors-state.js'

const KEEPALIVE = [
  'hello_sent',
  'hello_received',
  'reach_sent',
  'rx_packets',
  'rx_bytes',
  'ingress_packets',
] as const

const show = (packets: readonly { readonly egress: string; readonly data: Uint8Array }[]) =>
  packets.map(({ egress, data }) => `${egress} ${hex(data)}`)

async function play(t: Test, vector: Vector): Promise<void> {
  const stage = new Stage(vector.stage)
  stage.join()
  const { bench } = stage
  const before = bench.counts
  const chatter = stage.chatter
  let i = 0
  for (const step of vector.steps(new Cast(stage))) {
    if (step.afterUs !== undefined) t.same(show(stage.pass(step.afterUs)), [], `before step ${i}`)
    const out = bench.send(...step.packets)
    t.same(show(out), show(step.expect), `step ${i++}`)
    stage.listen(out)
  }
  const counts = new Map(moved(before, bench.counts))
  for (const name of KEEPALIVE) counts.delete(name)
  const consumed = (counts.get('consumed') ?? 0n) - (stage.chatter - chatter)
  counts.delete('consumed')
  if (consumed !== 0n) counts.set('consumed', consumed)
  t.same(
    Object.fromEntries([...counts].map(([name, by]) => [name, Number(by)])),
    vector.counts,
    'counters',
  )
  t.equal(bench.accounted(), undefined)
}

/** The same among peers that speak version 1 only. */
function inVersion1(vector: Vector): Vector {
  const names = vector.stage.peers ?? []
  const special = Object.fromEntries(names.map((name) => [name, { highest: 1 }]))
  return { ...vector, name: `${vector.name}, in version 1`, stage: { ...vector.stage, special } }
}

const ofBothVersions = [...fleetVectors, ...stateVectors]
for (const vector of [...serviceVectors, ...ofBothVersions, ...ofBothVersions.map(inVersion1)]) {
  t.test(vector.name, (t) => play(t, vector))
}
for (const vector of [...relayVectors, ...reachVectors, ...spillVectors])
  t.test(vector.name, (t) => play(t, vector))
