// docs/reference.md, made from the table of verbs. Called by scripts/cli-doc.mjs, and by the test that holds the file
// against it.

import { EXAMPLES } from './examples.js'
import { argumentText, optionText, usage, type Verb, type VerbTable } from './verbs.js'

const HEAD = `# Reference

What each verb takes. The fleet file's keys are in [configuration.md](configuration.md), the metrics in
[metrics.md](metrics.md), every bit on the wire in [wire-format.md](wire-format.md), words in [concepts.md](concepts.md).
The man page steadycast(8) has the same, and \`steadycast completion bash|zsh|fish\` prints a completion for your shell.

This page is written by \`npm run docs:man\` from the table of verbs in the code.
`

const cell = (words: string): string => words.replaceAll('|', '\\|')

export function referencePage(table: VerbTable): string {
  const index = table.verbs.map(
    ({ name, description }) => `| [\`${name}\`](#${name}) | ${cell(description)} |`,
  )
  return `${[HEAD, '| verb | what it does |\n| --- | --- |', ...index].join('\n')}

${table.verbs.map((verb) => section(table, verb)).join('\n\n')}
`
}

function section(table: VerbTable, verb: Verb): string {
  const rows = [
    ...verb.arguments.map((argument) => [argumentText(argument), argument.description]),
    ...verb.options
      .filter(({ long }) => long !== '--help')
      .map((option) => [
        optionText(option),
        `${option.description}${option.mandatory ? ' (needed)' : ''}`,
      ]),
  ].map(([head = '', body = '']) => `| \`${cell(head)}\` | ${cell(body)} |`)
  const example = EXAMPLES[verb.name]
  const after =
    example === undefined
      ? ''
      : `\n\n\`\`\`\n${example.commands.join('\n')}\n\`\`\`\n\nMore: [${example.page}](${example.page}).`
  const list =
    rows.length === 0 ? '' : `\n\n| argument | meaning |\n| --- | --- |\n${rows.join('\n')}`
  return `## ${verb.name}

\`${usage(table, verb)}\`

${verb.description[0]?.toUpperCase()}${verb.description.slice(1)}.${list}${after}`
}
