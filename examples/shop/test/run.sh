#!/bin/sh
# Builds the shop into a folder of its own and looks at the page.
set -eu
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
sh "$(dirname "$0")/../src/build.sh" "$out"

want() {
	if grep -q "$1" "$out/index.html"; then
		echo "ok: $2"
	else
		echo "FAILED: $2 (no $1 in the page)"
		exit 1
	fi
}
want '<li>apples' "the first item is offered"
want '<li>honey at 5.60' "prices are shown"
want '</ul>' "the list ends"
