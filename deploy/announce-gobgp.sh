#!/bin/sh
# Announces by GoBGP: "announce: { exec: { command: [/etc/steadycast/announce-gobgp.sh] } }". steadycast says what to do in
# PREFIX, FAMILY, STATE, COMMUNITIES, LARGE_COMMUNITIES, PREPEND. Sessions and policies are gobgpd's own configuration.
set -eu

comma() { echo "$*" | tr ' ' ','; }

# The next hop 0.0.0.0 or :: becomes the address of each session.
case $STATE in
withdrawn)
	# To withdraw what is not there is no fault.
	gobgp global rib -a "ipv$FAMILY" | grep -qF " $PREFIX " || exit 0
	exec gobgp global rib del -a "ipv$FAMILY" "$PREFIX"
	;;
*)
	set -- "$PREFIX" origin igp
	[ -z "$PREPEND" ] || set -- "$@" aspath "$(comma $PREPEND)"
	[ -z "$COMMUNITIES" ] || set -- "$@" community "$(comma $COMMUNITIES)"
	[ -z "$LARGE_COMMUNITIES" ] || set -- "$@" large-community "$(comma $LARGE_COMMUNITIES)"
	exec gobgp global rib add -a "ipv$FAMILY" "$@"
	;;
esac
