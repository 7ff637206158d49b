#!/bin/sh
# Announces by FRR: "announce: { exec: { command: [/etc/steadycast/announce-frr.sh, "64500"] } }", with your AS number.
# steadycast says what to do in PREFIX, FAMILY, STATE, COMMUNITIES, LARGE_COMMUNITIES, PREPEND, DEVICE; it must be allowed to
# use vtysh (the group frrvty). Sessions, and the filters towards them, are your own.
#
# "bgp graceful-restart-disable" belongs to it: otherwise neighbours go on sending to an FRR that has died.
#
# The route leads to DEVICE and goes with it, and with "bgp network import-check" (FRR's default) the announcement does, too.
set -eu

as=$1
map=steadycast-$STATE
case $STATE in
withdrawn)
	vtysh -c 'configure terminal' -c "router bgp $as" -c "address-family ipv$FAMILY unicast" \
		-c "no network $PREFIX" >/dev/null 2>&1 || {
		# To withdraw what is not there is no fault, but to reach nobody is.
		vtysh -c 'show bgp summary' >/dev/null
	}
	ip "-$FAMILY" route del "$PREFIX" dev "$DEVICE" 2>/dev/null || true
	;;
*)
	ip "-$FAMILY" route replace "$PREFIX" dev "$DEVICE"
	set -- -c 'configure terminal' -c "no route-map $map" -c "route-map $map permit 10"
	[ -z "$COMMUNITIES" ] || set -- "$@" -c "set community $COMMUNITIES"
	[ -z "$LARGE_COMMUNITIES" ] || set -- "$@" -c "set large-community $LARGE_COMMUNITIES"
	[ -z "$PREPEND" ] || set -- "$@" -c "set as-path prepend $PREPEND"
	exec vtysh "$@" -c exit -c "router bgp $as" -c "address-family ipv$FAMILY unicast" \
		-c "network $PREFIX route-map $map"
	;;
esac
