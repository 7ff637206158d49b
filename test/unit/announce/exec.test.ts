// Commands for other daemons: really run.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Exec, type ExecOptions } from '../../../src/announce/exec.js'
import type { Route } from '../../../src/announce/route.js'

const NONE = { communities: [], largeCommunities: [], prepend: [] }
const PREFIX = '198.51.100.0/24'
const up: Route = { prefix: PREFIX, family: 4, state: 'announced' }

function options(command: readonly string[], more: Partial<ExecOptions> = {}): ExecOptions {
  return {
    command,
    timeoutMs: 10_000,
    repeatMs: 60_000,
    device: 'steady0',
    node: 'ams-1',
    pop: 'ams',
    attributes: {
      announced: {
        communities: ['64500:1', '64500:2'],
        largeCommunities: ['1:2:3'],
        prepend: [64500],
      },
      'de-preferred': NONE,
      withdrawn: NONE,
    },
    ...more,
  }
}

t.test('the command gets its words as they are, and the route in its environment', async (t) => {
  const out = join(t.testdir(), 'out')
  const script =
    'printf "%s|" "$1" $PREFIX $FAMILY $STATE "$COMMUNITIES" "$LARGE_COMMUNITIES" "$PREPEND" $DEVICE $NODE $POP > "$2"'
  const exec = new Exec(options(['/bin/sh', '-c', script, 'sh', 'a b;$(x)', out]), Date.now)
  await exec.apply([up])
  t.equal(
    readFileSync(out, 'utf8'),
    'a b;$(x)|198.51.100.0/24|4|announced|64500:1 64500:2|1:2:3|64500|steady0|ams-1|ams|',
  )
})

t.test(
  'it is run when something changed, when it failed, and again when its time is over',
  async (t) => {
    const dir = t.testdir()
    const [log, broken] = [join(dir, 'log'), join(dir, 'broken')]
    writeFileSync(log, '')
    let nowMs = 0
    const script = `echo $STATE >> ${log}; test ! -e ${broken} || { echo no such session >&2; exit 3; }`
    const exec = new Exec(options(['/bin/sh', '-c', script]), () => nowMs)
    const told = () => readFileSync(log, 'utf8').trim().split('\n')
    await exec.apply([up])
    await exec.apply([up])
    t.same(told(), ['announced'])
    nowMs = 60_000
    await exec.apply([up])
    t.same(told(), ['announced', 'announced'])
    writeFileSync(broken, '')
    const down: Route = { ...up, state: 'withdrawn' }
    for (let time = 0; time < 2; time++) {
      await t.rejects(exec.apply([down]), {
        message: /for 198\.51\.100\.0\/24 withdrawn ended with 3: no such session$/,
      })
    }
    t.same(told().slice(2), ['withdrawn', 'withdrawn'])
    exec.forget()
    await t.rejects(exec.apply([up]))
  },
)

t.test('what hangs is killed with all that it started; what is not there is told', async (t) => {
  const pid = join(t.testdir(), 'pid')
  const script = `sleep 600 & echo $! > ${pid}; wait`
  const exec = new Exec(options(['/bin/sh', '-c', script], { timeoutMs: 300 }), Date.now)
  await t.rejects(exec.apply([up]), {
    message: /took longer than 0\.3 s and was killed: it said nothing$/,
  })
  const child = Number(readFileSync(pid, 'utf8'))
  const isGone = () => {
    try {
      return readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z ')
    } catch {
      return true
    }
  }
  for (let tries = 0; tries < 100 && !isGone(); tries++) await new Promise((r) => setTimeout(r, 20))
  t.ok(isGone(), 'the sleep is gone')
  const none = new Exec(options(['/nonexistent/announce']), Date.now)
  await t.rejects(none.apply([up]), { message: /does not run \(ENOENT\)/ })
})
