// The command line as a user meets it: the built program for what it says by itself, the program object with small
// verbs for what it makes of their errors.

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { EXIT_BUG, EXIT_FAILURE, endingOf, UserError } from '../../../src/cli/errors.js'
import { createProgram } from '../../../src/cli/program.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string }

const KEY = `1 ${'00112233'.repeat(4)}\n`
const FLEET = readFileSync(`${root}deploy/fleet.example.yaml`, 'utf8').replace(
  /key_file: \S+/,
  'key_file: fleet.key',
)

function steadycast(...args: string[]) {
  return spawnSync(process.execPath, [`${root}dist/cli/main.js`, ...args], { encoding: 'utf8' })
}

/** What goes wrong with these arguments where there is one verb, `check`, which runs the action. */
async function failureOf(args: string[], action: () => void = () => {}) {
  const printed: string[] = []
  const program = createProgram([
    (it) => {
      it.command('check').action(action)
    },
  ])
  for (const command of [program, ...program.commands]) {
    command.configureOutput({ writeErr: (text) => printed.push(text) })
  }
  const error = await program.parseAsync(args, { from: 'user' }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { printed: printed.join(''), ending: endingOf(error) }
}

t.test('--version prints the version of package.json', async (t) => {
  const { status, stdout } = steadycast('--version')
  t.equal(stdout, `${version}\n`)
  t.equal(status, 0)
})

t.test('a reader that has gone ends a verb as SIGPIPE would', async (t) => {
  const fleet = `${t.testdir({ 'fleet.key': KEY, 'fleet.yaml': FLEET })}/fleet.yaml`
  const args = [`${root}dist/cli/main.js`, 'check', '--config', fleet]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.destroy()
  t.equal(await new Promise((resolve) => child.on('close', resolve)), 141)
})

t.test('--help prints help and exits 0', async (t) => {
  const { status, stdout } = steadycast('--help')
  t.match(stdout, /^Usage: steadycast /)
  t.equal(status, 0)
})

t.test('an unknown option is one plain line on stderr and not exit code 0', async (t) => {
  const { status, stdout, stderr } = steadycast('--no-such-option')
  t.match(stderr, /^steadycast: unknown option '--no-such-option'.*--help.*\n$/)
  t.equal(stdout, '')
  t.not(status, 0)
})

t.test('an unknown verb is answered with the verb that was meant', async (t) => {
  const { printed, ending } = await failureOf(['chekc'])
  t.match(printed, /^steadycast: unknown command 'chekc' \(Did you mean check\?\).*\n$/)
  t.equal(ending.text, '', 'nothing is said twice')
  t.equal(ending.exitCode, EXIT_FAILURE)
})

t.test('the error of a verb is one plain line with its exit code', async (t) => {
  const { ending } = await failureOf(['check'], () => {
    throw new UserError('fleet.yaml:3:5: no such file,\n  expected a key', 3)
  })
  t.same(ending, {
    text: 'steadycast: fleet.yaml:3:5: no such file, expected a key\n',
    exitCode: 3,
  })
})

t.test('anything with message and exitCode counts as the error of a verb, 0 as 1', async (t) => {
  t.same(endingOf({ message: 'no', exitCode: 0 }), { text: 'steadycast: no\n', exitCode: 1 })
})

t.test('an unexpected error shows its stack and asks for a report', async (t) => {
  const { ending } = await failureOf(['check'], () => {
    throw new TypeError('undefined is not a function')
  })
  t.match(ending.text, /^TypeError: undefined is not a function\n {4}at .*program\.test\.ts/)
  t.ok(ending.text.endsWith('please report it with the lines above\n'))
  t.match(ending.text, `steadycast ${version}`)
  t.equal(ending.exitCode, EXIT_BUG)
})

t.test('a thrown string is an unexpected error too', async (t) => {
  t.match(endingOf('oops'), { text: /^oops\nsteadycast: this is a bug/, exitCode: EXIT_BUG })
})
