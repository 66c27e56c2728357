#!/bin/sh
# Shows the backlog at work on the embedded server, and checks that each step came out as it should.
# Usage: docs/demo.sh [MOSAIC]   (the program to show; default: mosaic)
#
# Every run uses a phase and ids of its own, so that it can be run again, and leaves other cards alone.
set -eu

mosaic=${1:-mosaic}
command -v "$mosaic" >/dev/null || {
    echo "demo: there is no program $mosaic" >&2
    exit 1
}
# The demo is about the embedded server, whatever else is configured.
unset DATABASE_URL MOSAIC_DATABASE_URL

run=demo-$(printf %x "$(date +%s)")
schema=$run-schema api=$run-api docs=$run-docs
steps=0

bold=
plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m')
    plain=$(printf '\033[0m')
fi

fail() {
    printf '\ndemo: %s\n' "$*" >&2
    exit 1
}

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# show WORD…: the command as a person would type it.
show() {
    line='$ mosaic'
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./:=,-]*) line="$line '$word'" ;;
            *) line="$line $word" ;;
        esac
    done
    printf '%s\n' "$line"
}

# expect EXIT ARGUMENT…: runs `mosaic backlog`, shows it with its output and checks the exit code.
expect() {
    wanted=$1
    shift
    show backlog "$@"
    code=0
    answer=$("$mosaic" backlog "$@" 2>&1) || code=$?
    printf '%s\n' "$answer" | sed 's/^/  /'
    [ "$code" -eq "$wanted" ] || fail "exit code $code instead of $wanted"
    steps=$((steps + 1))
}

# says TEXT: the last answer holds it.
says() {
    case $answer in
        *"$1"*) ;;
        *) fail "the answer lacks $1" ;;
    esac
}

# token: the claim token of the last answer, a claim of one card.
token() {
    found=$(printf '%s' "$answer" | sed -n \
        -e 's/.*"claim_token": *\([0-9][0-9]*\).*/\1/p' -e 's/.*(token \([0-9][0-9]*\)).*/\1/p')
    [ -n "$found" ] || fail "the answer has no claim token"
    printf '%s' "$found"
}

chapter "1. Three cards; the API needs the schema"
expect 0 create 'Design the schema' --id "$schema" --phase "$run" --priority 2
expect 0 create 'Build the API' --id "$api" --phase "$run" --priority 1 --needs "$schema"
expect 0 create 'Write the docs' --id "$docs" --phase "$run"
expect 0 list --phase "$run"

chapter "2. Two workers claim; each gets a card of its own, and the API is held back"
expect 0 claim --worker alice --phase "$run"
says "$schema"
alice=$(token)
expect 0 claim --worker bob --phase "$run"
says "$docs"
bob=$(token)
expect 3 claim --worker carol --phase "$run"
expect 0 why "$api"
says "$schema"

chapter "3. The schema is done, and that opens the API"
expect 0 complete "$schema" --token "$alice" --result '{"tables": 3}'
says "$api"
expect 0 complete "$docs" --token "$bob"

chapter "4. Bob takes the API for one second, and is not heard of again"
expect 0 claim --worker bob --phase "$run" --ttl 1s --json
says "\"id\":\"$api\""
says '"tables"'
stale=$(token)
sleep 2
expect 0 reclaim "$api"
says "$api"

chapter "5. Alice takes over; what Bob still sends is refused"
expect 0 claim --worker alice --phase "$run"
says "$api"
fresh=$(token)
[ "$fresh" -gt "$stale" ] || fail "the new token is not greater than the old one"
expect 6 complete "$api" --token "$stale"
expect 0 complete "$api" --token "$fresh" --result '{"endpoints": 12}'

chapter "6. All done"
expect 0 list --phase "$run" --status "done"
says '3 of 3'
expect 0 stats --phase "$run"

printf '\n%s steps, each as expected. The cards are in phase %s.\n' "$steps" "$run"
printf 'The embedded server keeps running: "mosaic db status" shows where, "mosaic db stop" stops it.\n'
