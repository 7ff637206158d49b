#!/bin/sh
# Announces by ExaBGP's API pipe: "announce: { exec: { command: [/etc/steadycast/announce-exabgp.sh, "64500"] } }", with your
# AS number. steadycast says what to do in PREFIX, STATE, COMMUNITIES, LARGE_COMMUNITIES, PREPEND; it must be allowed to
# write to the pipes (/run/exabgp/exabgp.in and .out; the group exabgp).
set -eu

as=$1
attributes="next-hop self"
if [ "$STATE" != withdrawn ]; then
	# A path that is given is sent as it is, so your own number comes first.
	[ -z "$PREPEND" ] || attributes="$attributes as-path [ $as $PREPEND ]"
	[ -z "$COMMUNITIES" ] || attributes="$attributes community [ $COMMUNITIES ]"
	[ -z "$LARGE_COMMUNITIES" ] || attributes="$attributes large-community [ $LARGE_COMMUNITIES ]"
	verb=announce
else
	verb=withdraw
fi
# shellcheck disable=SC2086
answer=$(exabgpcli "$verb" route "$PREFIX" $attributes 2>&1) || { echo "$answer" >&2; exit 1; }
case $answer in
*error* | *could\ not*) echo "$answer" >&2; exit 1 ;;
esac
