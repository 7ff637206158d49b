# bash completion of steadycast, made by "steadycast completion bash".
_steadycast() {
	local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'backend check completion lab run -V --version -h --help' -- "$cur")
		return
	fi
	case "$verb ${COMP_WORDS[COMP_CWORD - 1]}" in
		'backend --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'backend --name') COMPREPLY=(); return ;;
		'backend --admin') COMPREPLY=(); return ;;
		'backend --device') COMPREPLY=(); return ;;
		'check --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'check --node') COMPREPLY=(); return ;;
		'lab --scenario') COMPREPLY=(); return ;;
		'lab --pops') COMPREPLY=(); return ;;
		'lab --clients') COMPREPLY=(); return ;;
		'lab --seconds') COMPREPLY=(); return ;;
		'lab --seed') COMPREPLY=(); return ;;
		'run --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'run --node') COMPREPLY=(); return ;;
		'run --admin') COMPREPLY=(); return ;;
		'run --device') COMPREPLY=(); return ;;
		'run --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
	esac
	case $verb in
		backend)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --name --admin --device -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		check)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --json -h --help' -- "$cur")
			else compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); fi ;;
		completion)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '-h --help' -- "$cur")
			else mapfile -t COMPREPLY < <(compgen -W 'bash zsh fish' -- "$cur"); fi ;;
		lab)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--scenario --pops --clients --seconds --seed --json --keep -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		run)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --admin --device --state -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
	esac
}
complete -F _steadycast steadycast
