// The life of a long-running verb, in a process of its own: whatever ends it, everything is taken back first.

import { spawn } from 'node:child_process'
import t from 'tap'

const SERVICE = new URL('../../../dist/cli/service.js', import.meta.url).href
const PROGRAM = new URL('../../../dist/cli/program.js', import.meta.url).href

/** A verb whose steps are given as source text; `undo` is what it has to take back. */
function service(steps: string): ReturnType<typeof spawn> {
  const source = `
    import { runService } from ${JSON.stringify(SERVICE)}
    import { createProgram, runProgram } from ${JSON.stringify(PROGRAM)}
    const say = (text) => process.stdout.write(text + '\\n')
    const log = { info: (a, b) => say(b ?? a), error: (a, b) => say(b ?? a) }
    const pause = (ms) => new Promise((r) => setTimeout(r, ms))
    const register = (program) => program.command('serve').action(() => runService(log, ({ changes, fail, reloads }) => {
      changes.add('change', async () => { await new Promise((r) => setTimeout(r, 50)); say('taken back') })
      const idle = setInterval(() => {}, 1000)
      changes.add('timer', () => clearInterval(idle))
      return [${steps}]
    }))
    await runProgram(createProgram([register]), ['node', 'steadycast', 'serve'])`
  return spawn(process.execPath, ['--input-type=module', '-e', source])
}

async function life(steps: string, signals: readonly NodeJS.Signals[] = []) {
  const child = service(steps)
  let stdout = ''
  let stderr = ''
  const waiting = [...signals]
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    if (/up\n|stopping\n|reloaded.*\n/.test(chunk.toString())) {
      const signal = waiting.shift()
      if (signal !== undefined) child.kill(signal)
    }
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  return { code, stdout, stderr }
}

t.test('a signal takes everything back and ends with exit code 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    t.same(await life(`() => say('up')`, [signal]), {
      code: 0,
      stdout: 'up\nstopping\ntaken back\nstopped\n',
      stderr: '',
    })
  }
})

t.test('a signal in the midst of a start keeps the next step from being taken', async (t) => {
  const steps = `() => { say('up'); return new Promise((r) => setTimeout(r, 300)) }, () => say('never')`
  const { code, stdout } = await life(steps, ['SIGTERM'])
  t.equal(code, 0)
  t.equal(stdout, 'up\nstopping\ntaken back\nstopped\n')
})

t.test('a second signal ends it at once', async (t) => {
  const { code, stdout } = await life(`() => say('up')`, ['SIGTERM', 'SIGINT'])
  t.equal(code, 130)
  t.equal(stdout, 'up\nstopping\n')
})

t.test(
  'a refused step, a failure later and a bug are told after everything was taken back',
  async (t) => {
    const refusal = `Object.assign(new Error('no such device'), { exitCode: 1 })`
    for (const [steps, code, says] of [
      [`() => { throw ${refusal} }, () => say('never')`, 1, /^steadycast: no such device\n$/],
      [`() => { setTimeout(() => fail(${refusal}), 10) }`, 1, /^steadycast: no such device\n$/],
      [
        `() => { setTimeout(() => { throw new Error('bug') }, 10) }`,
        70,
        /Error: bug[\s\S]*please report/,
      ],
      [
        `() => { setTimeout(() => Promise.reject(new Error('bug')), 10) }`,
        70,
        /Error: bug[\s\S]*please report/,
      ],
    ] as const) {
      const outcome = await life(steps)
      t.equal(outcome.stdout, 'taken back\n')
      t.match(outcome.stderr, says)
      t.equal(outcome.code, code)
    }
  },
)

t.test('SIGHUP reloads, SIGTERM ends it', async (t) => {
  const steps = `() => { reloads.serve(async () => ['weights']); say('up') }`
  t.same(await life(steps, ['SIGHUP', 'SIGHUP', 'SIGTERM']), {
    code: 0,
    stdout: 'up\nreloaded: weights\nreloaded: weights\nstopping\ntaken back\nstopped\n',
    stderr: '',
  })
})

t.test(
  'SIGHUP during a start is a reload after it; one that is ended waits for its reload',
  async (t) => {
    const steps = `async () => { process.kill(process.pid, 'SIGHUP'); await pause(50) },
    () => { reloads.serve(async () => { say('up'); await pause(200); return [] }) }`
    t.same(await life(steps, ['SIGTERM']), {
      code: 0,
      stdout: 'up\nstopping\nreloaded: nothing has changed\ntaken back\nstopped\n',
      stderr: '',
    })
  },
)
