// SIGUSR1 opens no debugger in the processes that stay.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'

const dist = (path: string) => new URL(`../../../dist/${path}`, import.meta.url).pathname

t.test('a process that is sent SIGUSR1 goes on without opening a debugger', async (t) => {
  const source = `
    await import(${JSON.stringify(dist('host/no-inspector.js'))})
    const { url } = await import('node:inspector')
    process.kill(process.pid, 'SIGUSR1')
    setTimeout(() => console.log(url() ?? 'closed'), 500)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source])
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  t.equal(await new Promise((resolve) => child.on('close', resolve)), 0)
  t.equal(said, 'closed\n')
})

t.test('every entry of a process that stays imports that before anything else', async (t) => {
  for (const entry of ['cli/main.js', 'announce/guardian.js']) {
    const [first] = readFileSync(dist(entry), 'utf8').match(/^import .*$/m) ?? []
    t.equal(first, "import '../host/no-inspector.js';", entry)
  }
})
