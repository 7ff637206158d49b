// What /healthz says of a worker.

import t from 'tap'
import type { NodeView, WorkerHandle, WorkerStatus } from '../../../src/dataplane/addon.js'
import { workerHealth } from '../../../src/host/worker.js'

const FILLED: NodeView = {
  flowCapacity: 1024,
  flowsHalfOpen: 0,
  flowsEstablished: 0,
  flowsClosing: 0,
  filled: true,
  certain: false,
  withholds: false,
  recalling: false,
  peers: [],
}

function health(status: Partial<WorkerStatus>) {
  const whole = { error: null, busyUs: 0, loops: 0, view: FILLED, ...status }
  return workerHealth({ status: () => whole } as WorkerHandle)
}

t.test('a node is healthy once it has filled, and says until then what it waits for', async (t) => {
  t.same(health({}), { ok: true })
  t.same(health({ view: null }), { ok: true }, 'a backend side fills nothing')
  const starting = { ...FILLED, filled: false }
  t.match(health({ view: starting }), { ok: false, why: /^filling: / })
  t.match(health({ view: { ...starting, recalling: true } }), { ok: false, why: /^recalling: / })
  t.match(health({ error: 'ENODEV' }), { ok: false, why: /^the worker has ended: ENODEV$/ })
  t.match(workerHealth(undefined), { ok: false, why: /^starting: / })
})
