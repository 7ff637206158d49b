// What is made from the table of verbs: up to date, and real shells complete with it. A new verb or option needs no more
// than "npm run docs:man".

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createProgram } from '../../../src/cli/program.js'
import { EXAMPLES } from '../../../src/cli/reference/examples.js'
import { referenceFiles } from '../../../src/cli/reference/files.js'
import { verbTable } from '../../../src/cli/reference/verbs.js'
import { VERBS } from '../../../src/cli/verbs.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const SCRATCH = t.testdir({ 'fleet one.yaml': '' })
/** What stands for the command in a shell of ours: it prints its arguments. */
const STAND_IN = `steadycast() { printf '<%s>' "$@"; echo; }`

const program = createProgram(VERBS)
const table = verbTable(program)

function steadycast(...args: readonly string[]): string {
  return spawnSync(process.execPath, [`${root}dist/cli/main.js`, ...args], { encoding: 'utf8' })
    .stdout
}

t.test('man page, completions and docs/reference.md are what npm run docs:man makes', async (t) => {
  for (const [path, text] of referenceFiles(program)) {
    t.equal(readFileSync(`${root}${path}`, 'utf8'), text, path)
  }
})

t.test('the table has the verbs of the program, each with its help', async (t) => {
  const help = steadycast('--help')
  const listed = [...help.matchAll(/^ {2}([a-z]+) .*/gm)].map(([, name]) => name)
  t.same(
    listed.filter((name) => name !== 'help').sort(),
    table.verbs.map(({ name }) => name),
  )
})

t.test('the help of every verb ends with an example or where to read on', async (t) => {
  for (const { name } of table.verbs) {
    t.match(steadycast(name, '--help'), /\nMore: man 8 steadycast/, name)
  }
})

t.test('examples are of options and pages that there are', async (t) => {
  for (const verb of table.verbs) {
    const { commands = [], page } = EXAMPLES[verb.name] ?? {}
    for (const command of commands) {
      t.ok(command.startsWith(`steadycast ${verb.name}`), command)
      const options = command.match(/--[a-z-]+/g) ?? []
      const known = verb.options.map(({ long }) => long)
      t.same(
        options.filter((option) => !known.includes(option)),
        [],
        command,
      )
    }
    if (page !== undefined) t.ok(existsSync(`${root}docs/${page}`), page)
  }
})

/** Skips, or fails where nothing may be skipped. */
function has(t: Test, name: string, debian: string): boolean {
  if (spawnSync('sh', ['-c', `command -v ${name}`]).status === 0) return true
  const missing = `${name} missing: apt-get install ${debian}`
  if (process.env.STEADYCAST_CI === '1') t.fail(missing)
  else t.plan(0, missing)
  return false
}

/** Types keys at a shell on a terminal of its own, and returns what it printed. */
async function type(shell: string, setup: string, keys: string): Promise<string> {
  const env = { ...process.env, TERM: 'dumb', HISTFILE: '', PS1: '$ ' }
  const child = spawn('script', ['-qec', shell, '/dev/null'], { cwd: SCRATCH, env })
  let said = ''
  const answered = async (pattern: RegExp) => {
    for (let waitedMs = 0; !pattern.test(said) && waitedMs < 20_000; waitedMs += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const closed = new Promise((resolve) => child.on('close', resolve))
  child.stdin.write(`${setup}; echo rea''dy\n`)
  await answered(/ready/)
  child.stdin.write(`${keys}\n`)
  await answered(/<[^%]*>\s/)
  child.stdin.end('exit\n')
  await closed
  return said
}

const KEYS = 'steadycast ru\t--conf\tfle\t--no\tams-1 --st\t'
const COMPLETED = '<run><--config><fleet one.yaml><--node><ams-1><--state>'

t.test('bash completes verbs, options and files', async (t) => {
  const file = `${root}deploy/completion/steadycast.bash`
  const said = await type('bash --norc --noprofile -i', `source ${file}; ${STAND_IN}`, KEYS)
  t.ok(said.includes(COMPLETED), said)
  const choice = await type(
    'bash --norc --noprofile -i',
    `source ${file}; ${STAND_IN}`,
    'steadycast comp\tz\t',
  )
  t.ok(choice.includes('<completion><zsh>'), choice)
})

t.test('zsh completes verbs, options and files', async (t) => {
  if (!has(t, 'zsh', 'zsh')) return
  const file = `${root}deploy/completion/_steadycast`
  const setup = `autoload -U compinit; compinit -D -u; source ${file}; ${STAND_IN}`
  const said = await type('zsh -f -i', setup, KEYS)
  t.ok(said.includes(COMPLETED), said)
})

t.test('fish completes verbs, options and files', async (t) => {
  if (!has(t, 'fish', 'fish')) return
  const offered = (line: string): readonly string[] => {
    const script = `source ${root}deploy/completion/steadycast.fish; complete -C '${line}'`
    const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', script], {
      encoding: 'utf8',
      cwd: SCRATCH,
      env: { ...process.env, HOME: SCRATCH },
    })
    t.equal(stderr, '')
    return stdout.split('\n').map((entry) => entry.split('\t')[0] ?? '')
  }
  t.same(offered('steadycast ru'), ['run', ''])
  t.ok(offered('steadycast run --').includes('--state'))
  t.notOk(offered('steadycast run --').includes('--pops'))
  t.ok(offered('steadycast run --config fle').includes('fleet one.yaml'))
  t.ok(offered('steadycast completion ').includes('zsh'))
})

t.test('man shows the page, mandoc finds no fault with it', async (t) => {
  if (!has(t, 'mandoc', 'mandoc')) return
  const page = `${root}deploy/man/steadycast.8`
  const { status, stdout } = spawnSync('mandoc', ['-Tlint', '-Wwarning', page], {
    encoding: 'utf8',
  })
  t.same(
    stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date')),
    [],
    `exit code ${status}`,
  )
  const shown = spawnSync('mandoc', ['-Tutf8', page], { encoding: 'utf8' }).stdout
  // Bold is a letter, a backspace and the letter again.
  const parts = shown.split('\b')
  const plain = [...parts.slice(0, -1).map((part) => part.slice(0, -1)), parts.at(-1)].join('')
  for (const { name } of table.verbs) t.ok(plain.includes(`steadycast ${name} `), name)
})

t.test('steadycast completion prints the completion that the package has', async (t) => {
  t.equal(
    steadycast('completion', 'bash'),
    readFileSync(`${root}deploy/completion/steadycast.bash`, 'utf8'),
  )
})
