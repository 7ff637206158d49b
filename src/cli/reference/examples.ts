// An example for each verb, and where to read on: the end of its --help, and of its section in the man page. Called by
// program.ts and the generators. A verb that is not here points to the man page.

export interface Example {
  readonly commands: readonly string[]
  /** A page of docs/. */
  readonly page: string
}

const FLEET = '/etc/steadycast/fleet.yaml'

export const EXAMPLES: Readonly<Record<string, Example>> = {
  backend: {
    commands: [`steadycast backend --config ${FLEET} --name ams-web-1`],
    page: 'quickstart.md',
  },
  check: {
    commands: [`steadycast check --config ${FLEET} --node ams-1`],
    page: 'configuration.md',
  },
  completion: {
    commands: ['steadycast completion bash > /etc/bash_completion.d/steadycast'],
    page: 'deploy.md',
  },
  doctor: {
    commands: ['steadycast doctor', `steadycast doctor --config ${FLEET} --node ams-1`],
    page: 'doctor.md',
  },
  drain: {
    commands: [
      `steadycast drain ams-1 --config ${FLEET} --timeout 10m`,
      `steadycast drain pop:ams --config ${FLEET}`,
    ],
    page: 'drain.md',
  },
  explain: {
    commands: [
      `steadycast explain --config ${FLEET} --node ams-1 'tcp 203.0.113.9:4711 > 198.51.100.10:443'`,
      `steadycast explain --config ${FLEET} --node ams-1 --pcap capture.pcap`,
    ],
    page: 'explain.md',
  },
  lab: {
    commands: ['steadycast lab', 'steadycast lab --scenario list'],
    page: 'lab.md',
  },
  observe: {
    commands: ['steadycast observe --device eth0 --vip 198.51.100.0/24 --seconds 600'],
    page: 'observe.md',
  },
  run: {
    commands: [`steadycast run --config ${FLEET} --node ams-1`],
    page: 'quickstart.md',
  },
  status: {
    commands: ['steadycast status', `steadycast status --config ${FLEET} --json`],
    page: 'admin.md',
  },
  top: { commands: ['steadycast top'], page: 'admin.md' },
  undrain: { commands: [`steadycast undrain ams-1 --config ${FLEET}`], page: 'drain.md' },
}

/** After the options of --help. */
export function helpEnd(verb: string): string {
  const example = EXAMPLES[verb]
  if (example === undefined) return '\nMore: man 8 steadycast'
  const [word, ...lines] = [
    example.commands.length === 1 ? 'Example:' : 'Examples:',
    ...example.commands.map((command) => `  ${command}`),
  ]
  return `\n${[word, ...lines].join('\n')}\n\nMore: man 8 steadycast, docs/${example.page}`
}
