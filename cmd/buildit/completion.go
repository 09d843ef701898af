package main

import (
	"context"
	"fmt"
	"strings"
)

// shellScripts write the completion of a shell from the table of verbs.
var shellScripts = map[string]func([]verb) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

func init() {
	register(verb{
		name: "completion", summary: "print the completion script of a shell",
		usage: "bash|zsh|fish", example: `source <(buildit completion bash)`,
		flags: []string{"bash", "zsh", "fish"},
		run:   completion,
	})
}

func completion(_ context.Context, env *environment, args []string) int {
	if len(args) != 1 || shellScripts[args[0]] == nil {
		return verbs["completion"].usageError(env, "name one shell: bash, zsh or fish")
	}
	return env.print(shellScripts[args[0]](sortedVerbs()))
}

func bashCompletion(list []verb) string {
	var names []string
	var cases strings.Builder
	for _, v := range list {
		names = append(names, v.name)
		words := fmt.Sprintf("compgen -W '%s' -- \"$word\"", strings.Join(v.flags, " "))
		if v.files {
			words += "; compgen -f -- \"$word\""
		}
		fmt.Fprintf(&cases, "    %s) mapfile -t COMPREPLY < <(%s) ;;\n", v.name, words)
	}
	return fmt.Sprintf(`# bash completion of buildit: source <(buildit completion bash)
_buildit() {
  local word=${COMP_WORDS[COMP_CWORD]}
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W '%s' -- "$word")
    return
  fi
  case ${COMP_WORDS[1]} in
%s  esac
}
complete -o filenames -F _buildit buildit
`, strings.Join(names, " "), cases.String())
}

func zshCompletion(list []verb) string {
	var names, cases strings.Builder
	for _, v := range list {
		fmt.Fprintf(&names, "    '%s:%s'\n", v.name, v.summary)
		words := "compadd -- " + strings.Join(v.flags, " ")
		if v.files {
			words += "; _files"
		}
		fmt.Fprintf(&cases, "    %s) %s ;;\n", v.name, words)
	}
	return fmt.Sprintf(`#compdef buildit
# zsh completion of buildit: buildit completion zsh > "${fpath[1]}/_buildit"
_buildit() {
  local -a verbs=(
%s  )
  if ((CURRENT == 2)); then
    _describe verb verbs
    return
  fi
  case $words[2] in
%s  esac
}
compdef _buildit buildit
`, names.String(), cases.String())
}

func fishCompletion(list []verb) string {
	var out strings.Builder
	out.WriteString("# fish completion of buildit: buildit completion fish | source\ncomplete -c buildit -f\n")
	for _, v := range list {
		fmt.Fprintf(&out, "complete -c buildit -n __fish_use_subcommand -a %s -d '%s'\n", v.name, v.summary)
		if len(v.flags) > 0 {
			fmt.Fprintf(&out, "complete -c buildit -n '__fish_seen_subcommand_from %s' -a '%s'\n", v.name, strings.Join(v.flags, " "))
		}
		if v.files {
			fmt.Fprintf(&out, "complete -c buildit -n '__fish_seen_subcommand_from %s' -F\n", v.name)
		}
	}
	return out.String()
}
