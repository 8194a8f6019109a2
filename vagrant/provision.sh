#!/bin/sh
# Put enforcer on a fresh Debian 12, as the README says.
#
# usage: provision.sh docker|containerd [OPTION of `enforcer install`]...
#
# Run as root, as often as you like. What it makes besides enforcer is for trying out: a
# signer `acme` whose key is made here (/root/acme/acme.key) and a policy that asks for
# its signature on everything. ENFORCER_SRC is where the source is.
set -eu
export DEBIAN_FRONTEND=noninteractive
SRC=${ENFORCER_SRC:-/vagrant}
KEYS=/root/acme

engine=${1:-}
case $engine in
docker) packages="docker.io python3-venv" ;;
containerd) packages="containerd runc python3-venv" ;;
*) echo "usage: provision.sh docker|containerd [OPTION of enforcer install]..." >&2; exit 2 ;;
esac
shift

say() { printf 'provision: %s\n' "$*"; }

# 1. What Debian has; a second run, or a host that has it all, needs no network.
missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    say "installing$missing"
    apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    apt-get install -q -y --no-install-recommends $missing
fi

# 2. enforcer, in an environment of its own.
say "enforcer from $SRC"
[ -x /usr/lib/enforcer/bin/pip ] || python3 -m venv /usr/lib/enforcer
/usr/lib/enforcer/bin/pip install -q -c "$SRC/constraints.txt" "$SRC"
ln -sfn /usr/lib/enforcer/bin/enforcer /usr/local/bin/enforcer

# 3. Whom this host trusts.
if [ ! -e "$KEYS/acme.key" ]; then
    say "a key for trying out in $KEYS"
    enforcer trust generate-test acme --out "$KEYS"
fi
install -d /etc/enforcer/policy.d
[ -e /etc/enforcer/policy.d/10-acme.yaml ] ||
    cat >/etc/enforcer/policy.d/10-acme.yaml <<'EOF'
apiVersion: enforcer/v1
signers:
  acme: {x509: {trustStores: ["ca:acme"], identities: ["*"]}}
always: acme
statements:
  - {name: everything, scopes: ["*"], require: acme}
EOF
enforcer trust add --type ca --store acme "$KEYS/acme-ca.crt"
enforcer policy check >/dev/null

# 4. The gate, the units, the engine. The way back is /usr/libexec/enforcer/uninstall.
# An installation that broke off is none: `enforcer install` says what to do then.
if grep -qs '"complete": true' /var/lib/enforcer-install/journal; then
    say "installed already: only what runs is started anew"
    systemctl try-restart 'enforcer*.service'
else
    enforcer install "--$engine" --enforce "$@"
fi
enforcer status
