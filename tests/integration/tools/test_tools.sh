#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# ./run, ./test and tools/*.sh on machines that lack something. The machine is a PATH with stubs.
# shellcheck disable=SC2016 # the shell in that machine expands what is in single quotes
set -uo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A PATH with what every Debian has, and nothing that installs or builds.
path=$work/bin
mkdir "$path"
for tool in awk bash cat comm date df dirname env grep mktemp rm sort tail tee uname; do
    ln -s "$(command -v "$tool")" "$path/$tool"
done

# stub NAME: make the program from stdin.
stub()
{
    rm -f "$path/$1"
    { echo "#!$BASH" && cat; } >"$path/$1"
    chmod +x "$path/$1"
}

# in_tools SCRIPT: run it in that machine as ./run would, with a list of packages of our own.
in_tools()
{
    env -i PATH="$path" HOME="$work/home" work="$work" "$BASH" -c "
        set -euo pipefail
        top=$work/tree
        . $source_dir/tools/steps.sh
        . $source_dir/tools/packages.sh
        $1" run >"$work/out" 2>"$work/err"
}

# expect TEXT CODE [WORDS...]: the command before ended with CODE, and in_tools said all WORDS.
expect()
{
    local got=$? text=$1 code=$2 word why=
    shift 2
    for word; do
        grep -qF -e "$word" "$work/out" "$work/err" || why="nobody said: $word"
    done
    ((got == code)) || why="exit code $got, not $code"
    if [ -n "$why" ]; then
        printf 'FAIL: %s: %s\n' "$text" "$why"
        cat "$work/out" "$work/err"
        exit 1
    fi
    echo "ok: $text"
}

mkdir -p "$work/tree/packaging" "$work/home"
cat >"$work/tree/packaging/packages" <<'END'
# run build test: a comment that names sections

run   alpha              # why
build beta               # run is no section here
build gamma
#run  commented-out
test  delta
END
stub dpkg-query <<'END'
cat "$work/installed"
END
stub apt-get <<'END'
echo "$@" >>"$work/apt-calls"
if [ -e "$work/apt-fails-at" ]; then
    case "$*" in *$(cat "$work/apt-fails-at")*) echo apt-was-here && exit 100 ;; esac
fi
END
stub sudo <<'END'
echo "$1" >>"$work/sudo-calls"
exec "$@"
END

printf '%s\n' 'ii  gamma' 'hi  alpha' 'rc  beta' >"$work/installed"
in_tools 'packages_missing run build'
expect "removed packages are missing, held ones are not" 0 beta
[ "$(cat "$work/out")" = beta ]
expect "comments and other sections are left out" 0

printf '%s\n' 'ii  alpha' 'ii  beta' 'ii  gamma' >"$work/installed"
in_tools 'packages_install run build'
expect "nothing missing is no work" 0
[ ! -e "$work/apt-calls" ]
expect "nothing missing calls nobody" 0

in_tools 'packages_install run build test'
expect "what is missing is installed" 0
grep -qE '^-q install -y --no-install-recommends .* delta$' "$work/apt-calls" &&
    ! grep -qE 'alpha|beta|gamma' "$work/apt-calls"
expect "only what is missing is installed" 0
if ((EUID)); then
    grep -qx apt-get "$work/sudo-calls"
else
    [ ! -e "$work/sudo-calls" ]
fi
expect "sudo is for those who are not root" 0

echo update >"$work/apt-fails-at"
in_tools 'step packages packages_install test'
expect "no network is told, with apt's own words" 1 failed apt-was-here delta network
echo install >"$work/apt-fails-at"
in_tools 'step packages packages_install test'
expect "a failed installation is told" 1 failed apt-was-here delta
rm "$work/apt-fails-at"

stub dpkg-query <<<'exit 2'
in_tools 'step packages packages_install test'
expect "a broken dpkg is told, and is no empty system" 1 "cannot find out"
if ((EUID)); then
    stub dpkg-query <<<'cat "$work/installed"'
    rm "$path/sudo"
    in_tools 'step packages packages_install test'
    expect "without sudo it names what root has to do" 1 "no sudo" "apt-get install delta"
fi
rm "$path/dpkg-query"
in_tools 'step packages packages_install test; echo went-on'
expect "a machine without dpkg is told what to do" 1 \
    failed "run: this is no Debian" packaging/packages
! grep -q went-on "$work/out"
expect "nothing goes on after that" 0

in_tools 'step first true; step second bash -c "echo words; exit 3"; echo went-on'
expect "a failed step shows its words" 1 first " s" second failed words
in_tools 'f() { false; echo went-on; }; step third f'
expect "a step fails at its first failure" 1 failed
! grep -q went-on "$work/err"
expect "nothing of a step runs after a failure" 0
in_tools 'step noisy bash -c "echo words; echo words >&2"'
expect "a step that works is told" 0 noisy
[ "$(wc -l <"$work/err")" = 1 ] && [ ! -s "$work/out" ]
expect "in one line, on stderr" 0

in_tools 'need_space "$top" 1 nothing'
expect "enough space is enough" 0
in_tools 'need_space "$top/not/there/yet" 1 nothing'
expect "a folder that is not there yet has its parent's space" 0
in_tools 'need_space "$top" 99999999 "buy a disk"'
expect "too little space is told with the remedy" 1 99999999 "make room, or buy a disk"
stub df <<<'printf "a\nb c d 7\n"'
in_tools 'need_all_space 5'
expect "the cache's disk is looked at" 1 "7 MiB free" "set XDG_CACHE_HOME"
mkdir -p "$work/home/.cache/vm_tools"
in_tools 'need_all_space 5'
expect "the disk of the images is looked at" 1 "7 MiB free" "set XDG_DATA_HOME"
mkdir -p "$work/home/.local/share/vm_tools/images/debian"
in_tools 'need_all_space 5'
expect "what is there needs no space" 0
in_tools 'need_all_space 8'
expect "the build's disk is looked at" 1 "7 MiB free" "another disk"
stub df <<<'printf "a\nb c d 70000\n"'

# The commands themselves.
for command in run test; do
    in_tools "exec $source_dir/$command --help"
    expect "./$command --help" 0 "Usage: ./$command" --help
    in_tools "exec $source_dir/$command --no-such-option"
    expect "./$command refuses an unknown option" 2 --no-such-option "./$command --help"
    in_tools "exec $source_dir/$command"
    expect "./$command on a machine that is no Debian" 1 "$command: this is no Debian"
done
in_tools "exec $source_dir/run uname"
expect "./run wants -- before a command" 2 "comes after --"
in_tools "exec $source_dir/run --name"
expect "./run --name wants a value" 2 "--name wants a value"
stub uname <<<'echo aarch64'
in_tools "exec $source_dir/run"
expect "./run says where it works" 1 x86_64

# A tree in which everything is built already, by stubs: what do they ask of vmc and ctest?
rm "$path/uname"
ln -s "$(command -v uname)" "$path/uname"
for tool in find cp mkdir; do
    ln -s "$(command -v "$tool")" "$path/$tool"
done
cp -r "$source_dir/run" "$source_dir/test" "$source_dir/tools" "$source_dir/packaging" "$work/tree"
awk '!/^#/ && NF { print "ii ", $2 }' "$work/tree/packaging/packages" >"$work/installed"
stub dpkg-query <<<'cat "$work/installed"'
stub cmake <<<'exit 0'
mkdir -p "$work/tree/build/release/bin" "$work/home/.cache/vm_tools/kernel/k/lib/modules/6.1"
# The source of libkmod is there, so that nobody fetches it.
libkmod=$work/home/.cache/vm_tools/kmod/kmod-$(grep -o 'version=[^ ]*' "$work/tree/tools/kmod.sh" |
    cut -d= -f2)/libkmod
mkdir -p "$libkmod"
touch "$libkmod/libkmod.c"
stub vmc <<'END'
echo "$*" >>"$work/vmc-calls"
case $1 in
    info) exit 3 ;;
    exec) cat && exit 42 ;;
esac
END
mv "$path/vmc" "$work/tree/build/release/bin/vmc"

echo input >"$work/input"
in_tools "exec $work/tree/run --mem 256 --name web -- cmd 'two words' <$work/input"
expect "./run ends with the exit code of the command" 42
[ "$(cat "$work/out")" = input ]
expect "stdin and stdout are the command's" 0
printf '%s\n' "image build" "info web" "start --no-shell --mem 256 web" \
    "exec web -- cmd two words" "stop web" | cmp - "$work/vmc-calls"
expect "./run builds, starts, runs and stops" 0
in_tools "exec $work/tree/run --keep -- cmd"
expect "./run --keep ends with the exit code, too" 42
[ "$(tail -n 1 "$work/vmc-calls")" = "exec demo -- cmd" ]
expect "and stops nothing" 0
in_tools "PATH=$path exec $work/tree/run --rebuild-image -- cmd"
grep -qx "image build --rebuild" "$work/vmc-calls"
expect "./run --rebuild-image" 0

stub ctest <<'END'
printf '%s ' "$@" >"$work/ctest-calls"
printf '\t  1 - one (%s)\n' "$(cat "$work/outcome")"
[ "$(cat "$work/outcome")" != Failed ]
END
echo Skipped >"$work/outcome"
in_tools "exec $work/tree/test -- -R rpc"
expect "./test allows skipped tests" 0
grep -q -e "-R rpc $" "$work/ctest-calls"
expect "./test hands on what follows --" 0
in_tools "exec $work/tree/test --no-skip"
expect "./test --no-skip does not" 1 "1 - one (Skipped)" "--no-skip does not allow"
echo Passed >"$work/outcome"
in_tools "exec $work/tree/test --no-skip"
expect "./test --no-skip passes without skipped tests" 0
echo Failed >"$work/outcome"
in_tools "exec $work/tree/test"
expect "./test fails with ctest" 1
