# bash completion of steadycast, made by "steadycast completion bash".
_steadycast() {
	local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'backend check completion doctor drain explain lab observe run status top undrain -V --version -h --help' -- "$cur")
		return
	fi
	case "$verb ${COMP_WORDS[COMP_CWORD - 1]}" in
		'backend --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'backend --name') COMPREPLY=(); return ;;
		'backend --admin') COMPREPLY=(); return ;;
		'backend --device') COMPREPLY=(); return ;;
		'check --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'check --node') COMPREPLY=(); return ;;
		'doctor --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'doctor --node') COMPREPLY=(); return ;;
		'doctor --backend') COMPREPLY=(); return ;;
		'doctor --admin') COMPREPLY=(); return ;;
		'doctor --token-file') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'doctor --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
		'doctor --device') COMPREPLY=(); return ;;
		'drain --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'drain --token-file') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'drain --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
		'drain --timeout') COMPREPLY=(); return ;;
		'explain --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'explain --node') COMPREPLY=(); return ;;
		'explain --admin') COMPREPLY=(); return ;;
		'explain --token-file') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'explain --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
		'explain --flags') COMPREPLY=(); return ;;
		'explain --hex') COMPREPLY=(); return ;;
		'explain --pcap') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'lab --scenario') COMPREPLY=(); return ;;
		'lab --pops') COMPREPLY=(); return ;;
		'lab --clients') COMPREPLY=(); return ;;
		'lab --seconds') COMPREPLY=(); return ;;
		'lab --seed') COMPREPLY=(); return ;;
		'observe --device') COMPREPLY=(); return ;;
		'observe --pcap') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'observe --vip') COMPREPLY=(); return ;;
		'observe --seconds') COMPREPLY=(); return ;;
		'observe --grace') COMPREPLY=(); return ;;
		'observe --svg') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'run --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'run --node') COMPREPLY=(); return ;;
		'run --admin') COMPREPLY=(); return ;;
		'run --device') COMPREPLY=(); return ;;
		'run --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
		'status --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'status --node') COMPREPLY=(); return ;;
		'status --admin') COMPREPLY=(); return ;;
		'status --token-file') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'status --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
		'top --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'top --node') COMPREPLY=(); return ;;
		'top --admin') COMPREPLY=(); return ;;
		'top --token-file') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'top --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
		'undrain --config') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'undrain --token-file') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		'undrain --state') compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
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
		doctor)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --backend --admin --token-file --state --device --json -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		drain)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --token-file --state --timeout --maintenance --force --stop --json -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		explain)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --admin --token-file --state --flags --hex --pcap --verbose --json -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		lab)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--scenario --pops --clients --seconds --seed --json --keep -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		observe)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--device --pcap --vip --seconds --grace --json --svg -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		run)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --admin --device --state -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		status)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --admin --token-file --state --json -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		top)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --node --admin --token-file --state --json -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
		undrain)
			if [[ $cur == -* ]]; then mapfile -t COMPREPLY < <(compgen -W '--config --token-file --state --json -h --help' -- "$cur")
			else COMPREPLY=(); fi ;;
	esac
}
complete -F _steadycast steadycast
