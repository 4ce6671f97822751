#!/usr/bin/env bash
# Renders k8s/ and validates it, Dockerfile and docker-compose.yml, with tools from ordinary packages.
#
# validate.sh FOLDER   FOLDER keeps the tools between runs; the first run needs the registries, later ones no network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?validate.sh FOLDER}"
tools=$(cd "$1" && pwd)
kustomize=v5.7.1

# Without one of them nothing would be validated, so that is an error and no reason to pass.
missing() { printf 'manifests: %s\n' "$1" >&2; exit 1; }
for program in python3 go npm node mvn java; do
    command -v "$program" >/dev/null || missing "needs $program"
done

# Installs into $tools/NAME unless what it was installed from is the same as before.
install() { # install NAME INPUT COMMAND...
    local name=$1 input=$2 mark
    mark=$(sha256sum <<<"$input" | cut -d ' ' -f 1)
    shift 2
    [[ -e $tools/$name/$mark ]] && return
    rm -rf "${tools:?}/$name"
    mkdir -p "$tools/$name"
    "$@" >"$tools/$name.log" 2>&1 || { tail -n 20 "$tools/$name.log" >&2; missing "$name cannot be installed (above)"; }
    touch "$tools/$name/$mark"
}

python_packages() {
    python3 -m venv "$tools/python" && "$tools/python/bin/pip" install --quiet -r "$here/requirements.txt"
}
node_packages() {
    cp "$here/package.json" "$tools/node/" && npm install --prefix "$tools/node" --no-audit --no-fund --ignore-scripts
}
java_packages() {
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$tools/java"
}

# The toolchain that is there, never one that go would fetch; modules where go keeps them anyway.
install kustomize "$kustomize $(go version)" \
    env GOBIN="$tools/kustomize" GOTOOLCHAIN=local GOFLAGS= go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize"
install python "$(cat "$here/requirements.txt")" python_packages
install node "$(cat "$here/package.json")" node_packages
install java "$(cat "$here/pom.xml")" java_packages

"$tools/python/bin/python" "$here/validate.py" "$tools" --self-test
"$tools/python/bin/python" "$here/validate.py" "$tools"
