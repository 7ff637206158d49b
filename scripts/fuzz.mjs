// Fuzzes the data path: what "npm run fuzz -- --seconds N" does. Builds native/build/fuzz, runs it on all cores from the
// corpus in test/fuzz, and makes what it finds smaller. One line of progress every few seconds goes to stderr. The exit
// status is 0 only without a finding, 1 with one, 2 if it could not run. docs/fuzzing.md has the rest.

import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const DEFAULT_SECONDS = 60
const MAX_SECONDS = 30 * 86400
const MAX_INPUT = 2048 // FUZZ_MAX_INPUT
const INPUT_TIMEOUT_S = 25
const MEMORY_MIB = 2048
const INTERRUPTED = 72 // libFuzzer's exit status when it was told to end
const REPORT_MS = 5000
const REASON = /^fuzz: |^==\d+==ERROR: |runtime error: |^ALARM: |^SUMMARY: /

const root = fileURLToPath(new URL('../', import.meta.url))
const build = `${root}native/build`
const fuzzer = `${build}/fuzz`
const replayer = `${build}/fuzz-replay`
const corpus = `${root}test/fuzz/corpus`
const once = `${root}test/fuzz/found`
const work = `${build}/fuzz.run`
const clang = process.env.FUZZ_CC ?? 'clang'

function say(text) {
  process.stderr.write(`fuzz: ${text}\n`)
}

function refuse(message) {
  process.stderr.write(`steadycast: fuzz: ${message}\n`)
  process.exit(2)
}

function readOptions() {
  const usage = 'usage: npm run fuzz -- [--seconds N] [--keep]'
  const options = { seconds: { type: 'string' }, keep: { type: 'boolean' } }
  try {
    const { seconds = String(DEFAULT_SECONDS), keep = false } = parseArgs({ options }).values
    if (!/^\d+$/.test(seconds) || Number(seconds) < 1 || Number(seconds) > MAX_SECONDS) {
      return refuse(`--seconds ${seconds}: expected a whole number, 1 to ${MAX_SECONDS}\n${usage}`)
    }
    return { seconds: Number(seconds), keep }
  } catch (error) {
    return refuse(`${error.message}\n${usage}`)
  }
}

function requireClang() {
  const { error, status } = spawnSync(
    clang,
    ['-fsanitize=fuzzer,address,undefined', '-x', 'c', '-', '-o', '/dev/null'],
    { input: 'int LLVMFuzzerTestOneInput(const char *d, long n) { return !d && n; }\n' },
  )
  if (error) {
    refuse(`${clang} is not there: install it (Debian: apt-get install clang libclang-rt-dev)`)
  }
  if (status !== 0) {
    refuse(
      `${clang} has no libFuzzer or no sanitizers: install them (Debian: apt-get install libclang-rt-dev)`,
    )
  }
}

function make(jobs) {
  const { status } = spawnSync(
    'make',
    ['-s', `-j${jobs}`, '-C', `${root}native`, `FUZZ_CC=${clang}`, 'fuzz'],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  if (status !== 0) {
    refuse('the fuzzer could not be built: "make -C native fuzz" says why')
  }
}

/** The folders whose inputs a run begins with. */
function seeds() {
  return [corpus, once].filter((folder) => existsSync(folder))
}

const running = new Set()

/** One fuzzer process; resolves with its finding, if it has one. */
async function fuzz(job, seconds, state) {
  const child = spawn(
    fuzzer,
    [
      `-max_total_time=${seconds}`,
      `-max_len=${MAX_INPUT}`,
      `-timeout=${INPUT_TIMEOUT_S}`,
      `-rss_limit_mb=${MEMORY_MIB}`,
      '-reload=1',
      '-print_pcs=0',
      '-print_funcs=0',
      `-artifact_prefix=${work}/`,
      `${work}/corpus`,
      ...seeds(),
    ],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' },
    },
  )
  running.add(child)
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(signal ?? code))
  })
  const reasons = []
  let artifact
  for await (const line of createInterface({ input: child.stderr })) {
    const [, runs, cov, corp] = /^#(\d+)\s.*\bcov: (\d+).*\bcorp: (\d+)/.exec(line) ?? []
    if (runs !== undefined) {
      state[job] = { runs: Number(runs), cov: Number(cov), corp: Number(corp) }
    }
    if (REASON.test(line) && !reasons.includes(line)) {
      reasons.push(line)
    }
    artifact = /Test unit written to (\S+)/.exec(line)?.[1] ?? artifact
  }
  const how = await ended
  running.delete(child)
  return how === 0 || how === INTERRUPTED ? undefined : { how, artifact, reasons }
}

function progress(state, beganMs, seconds) {
  const runs = state.reduce((sum, { runs }) => sum + runs, 0)
  const [cov, corp] = ['cov', 'corp'].map((key) => Math.max(...state.map((job) => job[key])))
  const elapsedS = Math.round((Date.now() - beganMs) / 1000)
  say(
    `${elapsedS}/${seconds} s, ${runs} inputs run, ${cov} edges covered, ${corp} inputs in the corpus`,
  )
}

async function runAll(jobs, seconds) {
  const state = Array.from({ length: jobs }, () => ({ runs: 0, cov: 0, corp: 0 }))
  const beganMs = Date.now()
  const ticker = setInterval(() => progress(state, beganMs, seconds), REPORT_MS)
  let finding
  const one = async (_, job) => {
    const found = await fuzz(job, seconds, state)
    finding ??= found
    if (found) {
      for (const other of running) other.kill()
    }
  }
  await Promise.all(Array.from({ length: jobs }, one))
  clearInterval(ticker)
  progress(state, beganMs, seconds)
  return finding
}

function report({ how, artifact, reasons }) {
  for (const reason of reasons) {
    process.stderr.write(`${reason}\n`)
  }
  if (artifact === undefined) {
    say(`the fuzzer ended with ${how} and left no input`)
    return
  }
  const small = `${work}/minimised`
  say('found; making it smaller')
  const { status } = spawnSync(replayer, ['--minimise', artifact, small], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) {
    say(
      `only the fuzzer itself fails; reproduce: ASAN_OPTIONS=detect_leaks=0 ${fuzzer} ${artifact}`,
    )
    return
  }
  const kept = artifact.replace(/(crash|timeout|oom|leak|slow-unit)-/, 'found-')
  copyFileSync(small, kept)
  say(`reproduce: ${replayer} --trace ${kept}`)
  say(`elsewhere: base64 -d <<<${readFileSync(kept).toString('base64')} >FILE`)
  say(`once it is mended: cp ${kept} ${once}/`)
}

/** Takes into the corpus what covers an edge that nothing in it does. */
function keep() {
  const before = readdirSync(corpus).length
  const { status } = spawnSync(
    fuzzer,
    ['-merge=1', '-use_counters=0', `-max_len=${MAX_INPUT}`, corpus, `${work}/corpus`],
    { stdio: 'ignore', env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' } },
  )
  if (status !== 0) {
    refuse('the corpus could not be merged')
  }
  say(`${readdirSync(corpus).length - before} inputs more in ${corpus}`)
}

const options = readOptions()
const jobs = availableParallelism()
requireClang()
make(jobs)
rmSync(work, { recursive: true, force: true })
mkdirSync(`${work}/corpus`, { recursive: true })
mkdirSync(corpus, { recursive: true })
const finding = await runAll(jobs, options.seconds)
if (finding) {
  report(finding)
} else if (options.keep) {
  keep()
}
process.exitCode = finding ? 1 : 0
