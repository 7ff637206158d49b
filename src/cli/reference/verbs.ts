// The verbs as data, read from commander's program, which is the one table of them. Called by what is made from that
// table: help, completions, the man page and docs/reference.md. Guarantees: hidden verbs and options are in none of them.

import type { Argument, Command, Option } from 'commander'

/** What a shell can offer for a value. */
export type ValueKind = 'file' | 'folder' | 'other'

export interface Value {
  /** As in `<file>`. */
  readonly name: string
  readonly kind: ValueKind
  readonly choices: readonly string[]
}

export interface VerbOption {
  /** `--config`. */
  readonly long: string
  readonly short: string | undefined
  readonly value: Value | undefined
  readonly mandatory: boolean
  readonly description: string
}

export interface VerbArgument {
  readonly value: Value
  readonly required: boolean
  readonly variadic: boolean
  readonly description: string
}

export interface Verb {
  readonly name: string
  readonly description: string
  readonly arguments: readonly VerbArgument[]
  readonly options: readonly VerbOption[]
}

export interface VerbTable {
  readonly name: string
  readonly description: string
  readonly version: string
  readonly options: readonly VerbOption[]
  readonly verbs: readonly Verb[]
}

export function verbTable(program: Command): VerbTable {
  const help = program.createHelp()
  const verbs = help
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help')
    .map((command) => verbOf(command))
  return {
    name: program.name(),
    description: program.description(),
    version: program.version() ?? '',
    options: optionsOf(program),
    verbs: verbs.sort((one, other) => (one.name < other.name ? -1 : 1)),
  }
}

function verbOf(command: Command): Verb {
  return {
    name: command.name(),
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => argumentOf(argument, command)),
    options: optionsOf(command),
  }
}

function optionsOf(command: Command): readonly VerbOption[] {
  const help = command.createHelp()
  return help.visibleOptions(command).map((option) => ({
    long: option.long ?? '',
    short: option.short,
    value: optionValue(option),
    mandatory: option.mandatory,
    description: help.optionDescription(option),
  }))
}

function argumentOf(argument: Argument, command: Command): VerbArgument {
  return {
    value: {
      name: argument.name(),
      kind: kindOf(argument.name(), argument.description),
      choices: argument.argChoices ?? [],
    },
    required: argument.required,
    variadic: argument.variadic,
    description: command.createHelp().argumentDescription(argument),
  }
}

function optionValue(option: Option): Value | undefined {
  const name = /[<[](.+?)(?:\.\.\.)?[>\]]/.exec(option.flags)?.[1]
  if (name === undefined) return undefined
  return { name, kind: kindOf(name, ''), choices: option.argChoices ?? [] }
}

/** By the names that all verbs use. */
function kindOf(name: string, description: string): ValueKind {
  if (name === 'file' || /\bfile\b/.test(description)) return 'file'
  return name === 'folder' ? 'folder' : 'other'
}

/** `<file>`, `[packet...]`, as in a usage line. */
export function argumentText({ value, required, variadic }: VerbArgument): string {
  const inner = `${value.name}${variadic ? '...' : ''}`
  return required ? `<${inner}>` : `[${inner}]`
}

/** `-h, --help` or `--config <file>`. */
export function optionText({ long, short, value }: VerbOption): string {
  const flags = [short, long].filter((flag) => flag !== undefined).join(', ')
  return value === undefined ? flags : `${flags} <${value.name}>`
}

/** `steadycast run --config <file> --node <name> [options]`. */
export function usage(table: VerbTable, verb: Verb): string {
  const must = verb.options.filter(({ mandatory }) => mandatory).map(optionText)
  return [table.name, verb.name, ...verb.arguments.map(argumentText), ...must, '[options]'].join(
    ' ',
  )
}
