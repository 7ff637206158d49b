// The packet vectors against the real node: what leaves is what the encoder of test/vectors made from the page.

import t, { type Test } from 'tap'
import { moved } from '../../vectors/bench.js'
import { hex } from '../../vectors/bytes.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, type Vector } from '../../vectors/vector.js'
import { fleetVectors } from '../../vectors/vectors-fleet.js'
import { serviceVectors } from '../../vectors/vectors-service.js'
import { stateVectors } from '../../vectors/vectors-state.js'

const KEEPALIVE = ['hello_sent', 'hello_received', 'rx_packets', 'rx_bytes'] as const

const show = (packets: readonly { readonly egress: string; readonly data: Uint8Array }[]) =>
  packets.map(({ egress, data }) => `${egress} ${hex(data)}`)

async function play(t: Test, vector: Vector): Promise<void> {
  const stage = new Stage(vector.stage)
  stage.join()
  const { bench } = stage
  const before = bench.counts
  const chatter = stage.chatter
  for (const [i, step] of vector.steps(new Cast(stage)).entries()) {
    if (step.afterUs !== undefined) t.same(show(stage.pass(step.afterUs)), [], `before step ${i}`)
    t.same(show(bench.send(...step.packets)), show(step.expect), `step ${i}`)
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

for (const vector of [...serviceVectors, ...fleetVectors, ...stateVectors]) {
  t.test(vector.name, (t) => play(t, vector))
}
