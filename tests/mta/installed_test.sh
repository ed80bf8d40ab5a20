#!/bin/sh
# The library as a stranger meets it: installed into an empty root, found by pkg-config, the example
# compiled as its comment says, and a message sealed with it.
#   installed_test.sh BUILD_DIR SOURCE_DIR ECHO_PROGRAM CC [CFLAGS]
set -eu
build=$1 source=$2 echo_program=$3 cc=$4 cflags=${5-}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root cmake --install "$build" --component library >"$root/install.log"
pc=$(find "$root" -name bulla.pc)
test -n "$pc"
PKG_CONFIG_LIBDIR=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
test "$(pkg-config --modversion bulla)" = 0.1.0
library=$(dirname "$(find "$root" -name libbulla.so.0)")

# Nothing but the contract is exported, and nothing but libc is needed.
exported=$(nm -D --defined-only "$library/libbulla.so.0" | awk '$2 == "T" { print $3 }')
test -n "$exported"
if [ -z "$cflags" ] && echo "$exported" | grep -v '^bulla_'; then
    echo "exports more than bulla_*" >&2
    exit 1
fi
for page in bulla_attach.3 bulla_submit.3 bulla_collect.3 bulla_seal_one.3 libbulla.7; do
    find "$root" -name "$page" | grep -q . || { echo "no $page" >&2; exit 1; }
done

# Word splitting is meant: these are lists of flags.
# shellcheck disable=SC2046,SC2086
$cc $cflags -std=c99 -Wall -Wextra -Werror -pedantic $(pkg-config --cflags bulla) \
    "$source/mta/examples/seal_one.c" $(pkg-config --libs bulla) -o "$root/seal_one"
# shellcheck disable=SC2046,SC2086
$cc $cflags -std=c99 -Wall -Wextra -Werror -pedantic $(pkg-config --cflags bulla) \
    "$source/mta/examples/collect.c" $(pkg-config --libs bulla) -o "$root/collect"
# The header serves C++ as well.
printf '#include <bulla.h>\nint main() { bulla_detach(nullptr); return 0; }\n' >"$root/header.cc"
if command -v g++ >/dev/null; then
    # shellcheck disable=SC2046,SC2086
    g++ $cflags -Wall -Wextra -Werror $(pkg-config --cflags bulla) -c "$root/header.cc" -o "$root/header.o"
fi

export LD_LIBRARY_PATH="$library"
printf 'Subject: x\r\n\r\nhello\r\n' >"$root/mail"
"$echo_program" "$root/seal_one" me@example.org you@example.net <"$root/mail" >"$root/sealed"
{ printf '<<head>>\r\n'; cat "$root/mail"; printf '\r\n<<tail>>'; } | cmp - "$root/sealed"

# No engine: worth retrying, and it says why.
status=0
BULLA_SOCKET=$root/none "$root/seal_one" a@b c@d <"$root/mail" >"$root/out" 2>"$root/err" || status=$?
test "$status" = 75
grep -q 'No such file' "$root/err"
test ! -s "$root/out"

# More than a pipe and a buffer hold comes through whole.
head -c 1600000 /dev/urandom >"$root/large"
"$echo_program" "$root/seal_one" me@example.org you@example.net <"$root/large" >"$root/sealed"
{ printf '<<head>>\r\n'; cat "$root/large"; printf '\r\n<<tail>>'; } | cmp - "$root/sealed"

# ends STATUS WORDS COMMAND...: sealing ends so, and says why.
ends() {
    expected=$1 words=$2 status=0
    shift 2
    "$@" 2>"$root/err" || status=$?
    test "$status" = "$expected" || { echo "ended with $status, not $expected" >&2; exit 1; }
    grep -q "$words" "$root/err"
}
# What cannot be read or written whole was not sealed, and what can never be sealed is told apart.
ends 75 'Input/output error' \
    "$echo_program" "$root/seal_one" me@example.org you@example.net <"$root/mail" >/dev/full
ends 75 'Input/output error' \
    "$echo_program" "$root/seal_one" me@example.org you@example.net <"$root" >"$root/out"
head -c 268435457 /dev/zero | ends 65 'Message too long' \
    "$echo_program" "$root/seal_one" me@example.org you@example.net >"$root/out"
test ! -s "$root/out"

# What the engine takes over is collected, and written whole to a Maildir.
mkdir -p "$root/maildir/tmp" "$root/maildir/new"
# The inner shell expands what stands in single quotes.
# shellcheck disable=SC2016
"$echo_program" sh -ec '
    for n in 1 2 3; do "$1" seal --queue --profile queue --from a@b.example --to c@d.example "$2"; done
    "$3" "$4" 300' sh "$build/tools/bulla/bulla" "$root/mail" "$root/collect" "$root/maildir" \
    >"$root/out" 2>"$root/err"
test ! -s "$root/out"
test "$(grep -c 'keeps the message' "$root/err")" = 3
test "$(find "$root/maildir" -type f | wc -l)" = 3
for n in 1 2 3; do
    cmp "$root/mail" "$root/maildir/new/$(printf "%02d" $n $n $n $n $n $n $n $n $n $n $n $n $n $n $n $n).mail"
done
ends 64 usage "$echo_program" "$root/collect"
BULLA_SOCKET=$root/none ends 75 'No such file' "$root/collect" "$root/maildir"

# The example is as short as it is said to be: lines of code in main().
lines=$(sed -e '1,/^int main/d' "$source/mta/examples/seal_one.c" | grep -c '[a-z]')
test "$lines" -le 20
echo "installed, found, compiled, sealed, collected"
