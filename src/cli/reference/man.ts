// The man page steadycast(8), made from the table of verbs. Called by scripts/cli-doc.mjs, and by the test that holds
// deploy/man/steadycast.8 against it.

import { EXAMPLES } from './examples.js'
import {
  argumentText,
  optionText,
  usage,
  type Verb,
  type VerbOption,
  type VerbTable,
} from './verbs.js'

const SYNOPSIS = `A fleet of nodes, some in each place (PoP), announces one address, the VIP. Each node knows which backend owns which
connection, and forwards what lands at the wrong place to the node that owns it. One YAML file describes the fleet and is the
same on all of its machines.`

const FILES: readonly (readonly [string, string])[] = [
  ['/etc/steadycast/fleet.yaml', 'the fleet, where the service units look for it'],
  [
    '/etc/steadycast/fleet.key',
    'the key of the fleet, if the fleet file says so; for its owner alone',
  ],
  ['/run/steadycast', 'what outlives a process of "run": its flow table, for one'],
]

const SIGNALS: readonly (readonly [string, string])[] = [
  [
    'SIGHUP',
    '"run" and "backend" read their files anew; what is wrong with them changes nothing and is logged',
  ],
  [
    'SIGTERM, SIGINT',
    '"run" and "backend" take back what they changed and end; a second one ends them at once',
  ],
]

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ['NO_COLOR', 'no colours, whatever the terminal'],
  ['NOTIFY_SOCKET, WATCHDOG_USEC', 'set by systemd for units of Type=notify: sd_notify(3)'],
]

const EXIT_STATUS = `0 when it did what it was asked to, something else when not, with one sentence on standard error. What else a verb says by
its status is in its description; 70 is a bug, to be reported.`

/** Backslashes, hyphens that are to be hyphens, and lines that begin like a request. */
const text = (words: string): string =>
  words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1')

const sentence = (words: string): string => `${words[0]?.toUpperCase()}${words.slice(1)}`

const item = (head: string, body: string): string => `.TP\n.B ${text(head)}\n${text(body)}`

export function manPage(table: VerbTable): string {
  const { name, version, options, verbs } = table
  return `${[
    `.\\" Made by "npm run docs:man" from the table of verbs.`,
    `.TH ${name.toUpperCase()} 8 "" "${name} ${version}" "System Administration"`,
    '.SH NAME',
    `${name} \\- keeps TCP connections alive over anycast`,
    '.SH SYNOPSIS',
    verbs.map((verb) => `.B ${text(usage(table, verb))}`).join('\n.br\n'),
    '.SH DESCRIPTION',
    text(SYNOPSIS),
    '.SH OPTIONS',
    ...options.map(optionItem),
    '.SH VERBS',
    ...verbs.map(verbSection),
    '.SH SIGNALS',
    ...SIGNALS.map(([head, body]) => item(head, body)),
    '.SH EXIT STATUS',
    text(EXIT_STATUS),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.map(([head, body]) => item(head, body)),
    '.SH FILES',
    ...FILES.map(([head, body]) => item(head, body)),
    '.SH SEE ALSO',
    text(
      'The folder docs/ of the package: quickstart.md, concepts.md, configuration.md, operations.md, security.md.',
    ),
  ].join('\n')}\n`
}

function optionItem(option: VerbOption): string {
  return item(optionText(option), `${option.description}${option.mandatory ? ' (needed)' : ''}`)
}

function verbSection(verb: Verb): string {
  const example = EXAMPLES[verb.name]
  return [
    `.SS ${verb.name}`,
    text(`${sentence(verb.description)}.`),
    ...verb.arguments.map((argument) => item(argumentText(argument), argument.description)),
    ...verb.options.filter(({ long }) => long !== '--help').map(optionItem),
    ...(example === undefined
      ? []
      : [
          '.PP',
          text(`For example (docs/${example.page} has more):`),
          '.PP',
          '.RS',
          '.nf',
          ...example.commands.map(text),
          '.fi',
          '.RE',
        ]),
  ].join('\n')
}
