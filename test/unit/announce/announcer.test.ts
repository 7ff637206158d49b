// What the announcer reports of a routing daemon that does as told, refuses, or takes its time: of the built program, with a
// command as the daemon.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const dist = (path: string) => new URL(`../../../dist/${path}`, import.meta.url).href

t.test('a report is done only when the daemon has taken what it is told', async (t) => {
  const dir = t.testdir({ answer: 'wait\n' })
  const script = `while [ "$(cat ${dir}/answer)" = wait ]; do sleep 0.1; done; [ "$(cat ${dir}/answer)" = yes ]`
  const source = `
    const { Announcer } = await import(${JSON.stringify(dist('announce/announcer.js'))})
    const log = { info: () => {}, warn: () => {} }
    const announcer = new Announcer({
      node: 'ams-1', pop: 'ams', device: 'steady0', include: '${dir}/include', memory: '${dir}/memory', log,
    })
    const announce = {
      daemon: { kind: 'exec', command: ['/bin/sh', '-c', ${JSON.stringify(script)}], timeoutMs: 60000, repeatMs: 60000 },
      prefixes: [{ prefix: '198.51.100.0/24', family: 4, upWhen: 'any', services: ['web'] }],
      announced: { communities: [], prepend: [] },
      dePreferred: { communities: [], prepend: [] },
      dePreferredMs: 0, holdDownMs: 0, maxHoldDownMs: 0, localNodes: new Set(),
    }
    let last = ''
    setInterval(() => {
      const { done, trouble } = announcer.report()
      const line = done ? 'done' : trouble === undefined ? 'waits' : 'trouble'
      if (line !== last) console.log(line)
      last = line
    }, 20)
    process.on('SIGTERM', () => void announcer.stop().then(() => process.exit(0)))
    void announcer.start(announce)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source])
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  const next: Readonly<Record<string, () => void>> = {
    waits: () => writeFileSync(join(dir, 'answer'), 'no\n'),
    trouble: () => writeFileSync(join(dir, 'answer'), 'yes\n'),
    done: () => child.kill('SIGTERM'),
  }
  child.stdout.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split('\n')) {
      lines.push(line)
      next[line]?.()
    }
  })
  await new Promise((resolve) => child.on('close', resolve))
  t.same(lines, ['waits', 'trouble', 'done'])
})
