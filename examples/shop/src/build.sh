#!/bin/sh
# Renders the shop's page from its catalogue: src/build.sh FOLDER
set -eu
out=${1:?usage: src/build.sh FOLDER}
here=$(dirname "$0")
mkdir -p "$out"
{
	echo "<!doctype html><title>${SHOP_NAME:-The shop}</title><h1>${SHOP_NAME:-The shop}</h1><ul>"
	sort "$here/catalog.csv" | awk -F, '{ printf "<li>%s at %s, %d in stock\n", $1, $2, $3 }'
	echo "</ul>"
	echo "<p>built from ${BUILDIT_SHORT_SHA:-a working tree}</p>"
} >"$out/index.html"
echo "$out/index.html: $(wc -c <"$out/index.html") bytes"
