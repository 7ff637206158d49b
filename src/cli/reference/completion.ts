// Completions for shells, made from the table of verbs. Called by the verb `completion` and by scripts/cli-doc.mjs.
// Guarantees: no completion runs steadycast or reads a file of its.

import type { Value, Verb, VerbOption, VerbTable } from './verbs.js'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

export function completion(shell: Shell, table: VerbTable): string {
  switch (shell) {
    case 'bash':
      return bash(table)
    case 'zsh':
      return zsh(table)
    case 'fish':
      return fish(table)
  }
}

const flagsOf = ({ long, short }: VerbOption): readonly string[] =>
  short === undefined ? [long] : [short, long]

const single = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** A line each: names may have spaces. */
const bashReply = (what: string): string => `mapfile -t COMPREPLY < <(compgen ${what} -- "$cur")`

/** Completes with what a value may be. */
function bashValue({ kind, choices }: Value): string {
  if (choices.length > 0) return bashReply(`-W '${choices.join(' ')}'`)
  if (kind === 'other') return 'COMPREPLY=()'
  return `compopt -o filenames; ${bashReply(kind === 'file' ? '-f' : '-d')}`
}

function bash({ name, options, verbs }: VerbTable): string {
  const values = verbs.flatMap((verb) =>
    verb.options.flatMap(({ long, value }) =>
      value === undefined ? [] : [`\t\t'${verb.name} ${long}') ${bashValue(value)}; return ;;`],
    ),
  )
  const words = verbs.map((verb) => {
    const flags = verb.options.flatMap(flagsOf).join(' ')
    const [argument] = verb.arguments
    const otherwise = argument === undefined ? 'COMPREPLY=()' : bashValue(argument.value)
    return `\t\t${verb.name})
\t\t\tif [[ $cur == -* ]]; then ${bashReply(`-W '${flags}'`)}
\t\t\telse ${otherwise}; fi ;;`
  })
  const top = [...verbs.map((verb) => verb.name), ...options.flatMap(flagsOf)].join(' ')
  return `# bash completion of ${name}, made by "${name} completion bash".
_${name}() {
\tlocal cur=\${COMP_WORDS[COMP_CWORD]} verb=\${COMP_WORDS[1]}
\tif ((COMP_CWORD == 1)); then
\t\t${bashReply(`-W '${top}'`)}
\t\treturn
\tfi
\tcase "$verb \${COMP_WORDS[COMP_CWORD - 1]}" in
${values.join('\n')}
\tesac
\tcase $verb in
${words.join('\n')}
\tesac
}
complete -F _${name} ${name}
`
}

const zshText = (text: string): string => text.replaceAll(/[[\]:\\]/g, (mark) => `\\${mark}`)

function zshAction({ kind, choices }: Value): string {
  if (choices.length > 0) return `(${choices.join(' ')})`
  return { file: '_files', folder: '_files -/', other: ' ' }[kind]
}

function zshOption(option: VerbOption): string {
  const { value, description } = option
  const action = value === undefined ? '' : `:${zshText(value.name)}:${zshAction(value)}`
  const rest = `[${zshText(description)}]${action}`
  const flags = flagsOf(option)
  if (flags.length === 1) return single(`${flags[0]}${rest}`)
  return `'(${flags.join(' ')})'{${flags.join(',')}}${single(rest)}`
}

function zsh({ name, options, verbs }: VerbTable): string {
  const list = verbs.map((verb) => `\t${single(`${verb.name}:${zshText(verb.description)}`)}`)
  const cases = verbs.map((verb) => {
    const values = verb.arguments.map(({ value, required, variadic }) => {
      const at = variadic ? '*' : required ? '' : ':'
      return single(`${at === '*' ? '*' : at}:${zshText(value.name)}:${zshAction(value)}`)
    })
    const all = [...verb.options.map(zshOption), ...values]
    return `\t\t${verb.name}) _arguments -s ${all.join(' \\\n\t\t\t')} ;;`
  })
  return `#compdef ${name}
# zsh completion of ${name}, made by "${name} completion zsh".
_${name}() {
\tlocal context state line
\tlocal -a verbs
\tverbs=(
${list.map((line) => `\t${line}`).join('\n')}
\t)
\t_arguments -C ${options.map(zshOption).join(' \\\n\t\t')} \\
\t\t'1: :->verb' '*:: :->rest'
\tcase $state in
\tverb) _describe verb verbs ;;
\trest)
\t\tcase $line[1] in
${cases.join('\n')}
\t\tesac ;;
\tesac
}
if [ "$funcstack[1]" = _${name} ]; then
\t_${name} "$@"
else
\tcompdef _${name} ${name}
fi
`
}

const fishText = (text: string): string => `'${text.replaceAll(/[\\']/g, (mark) => `\\${mark}`)}'`

function fishValue(value: Value | undefined): string {
  if (value === undefined) return ''
  if (value.choices.length > 0) return ` -x -a ${fishText(value.choices.join(' '))}`
  return { file: ' -r -F', folder: " -x -a '(__fish_complete_directories)'", other: ' -x' }[
    value.kind
  ]
}

function fishOption(name: string, condition: string, option: VerbOption): string {
  const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`
  const long = ` -l ${option.long.slice(2)}`
  const text = fishText(option.description)
  return `complete -c ${name} -n ${condition}${short}${long}${fishValue(option.value)} -d ${text}`
}

function fishVerb(name: string, verb: Verb): readonly string[] {
  const condition = fishText(`__fish_seen_subcommand_from ${verb.name}`)
  const [argument] = verb.arguments
  const value = argument === undefined ? '' : fishValue(argument.value).replace(' -r', '')
  return [
    ...verb.options.map((option) => fishOption(name, condition, option)),
    ...(value === '' ? [] : [`complete -c ${name} -n ${condition}${value}`]),
  ]
}

function fish({ name, options, verbs }: VerbTable): string {
  const lines = [
    `# fish completion of ${name}, made by "${name} completion fish".`,
    `complete -c ${name} -f`,
    ...options.map((option) => fishOption(name, '__fish_use_subcommand', option)),
    ...verbs.map(
      (verb) =>
        `complete -c ${name} -n __fish_use_subcommand -a ${verb.name} -d ${fishText(verb.description)}`,
    ),
    ...verbs.flatMap((verb) => fishVerb(name, verb)),
  ]
  return `${lines.join('\n')}\n`
}
