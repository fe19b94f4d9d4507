#!/usr/bin/env bash
# Node runs a program, and npm installs a package from a directory: locally, and globally into /usr/local.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work npm_config_update_notifier=false npm_config_offline=true

printf 'node %s npm %s npx %s\n' "$(node --version)" "$(npm --version)" "$(npx --version)"
[ "$(node -e 'console.log([1, 2, 3].map(x => x * 14).at(-1))')" = 42 ]
node -e 'require("crypto").createHash("sha256"); require("zlib").brotliCompressSync("x"); require("https")'

mkdir "$work/package" "$work/project"
echo '{"name": "jc-answer", "version": "1.0.0", "bin": {"jc-answer": "answer.js"}, "main": "answer.js"}' > "$work/package/package.json"
printf '#!/usr/bin/env node\nconsole.log(42)\n' > "$work/package/answer.js"
echo '{"name": "project", "version": "1.0.0"}' > "$work/project/package.json"

cd "$work/project"
npm install --no-audit --no-fund "$work/package"
[ "$(npx jc-answer)" = 42 ]

[ "$(npm prefix --global)" = /usr/local ]
npm install --global --no-audit --no-fund --install-links "$work/package"
[ "$(jc-answer)" = 42 ]
npm uninstall --global jc-answer
