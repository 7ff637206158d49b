/* The pcap port: replays a capture file and writes another. The reader trusts
 * nothing in the file and holds one record at a time. See port.h. */
#include "port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	MAGIC_US = 0xa1b2c3d4,
	MAGIC_NS = 0xa1b23c4d,
	MAGIC_PCAPNG = 0x0a0d0d0a,
	FILE_HEADER = 24,
	RECORD_HEADER = 16,

	/* Longest record believed: libpcap's own limit for these link types. */
	SC_PCAP_RECORD_MAX = 262144,

	LINKTYPE_ETHERNET = 1,
	LINKTYPE_RAW_OLD = 12,	/* DLT_RAW, as some programs write it */
	LINKTYPE_RAW = 101,
	LINKTYPE_LINUX_SLL = 113,
	LINKTYPE_LINUX_SLL2 = 276,

	TYPE_IP4 = 0x0800,
	TYPE_IP6 = 0x86dd,
	TYPE_VLAN = 0x8100,
	TYPE_QINQ = 0x88a8,
	VLAN_TAGS_MAX = 2,
};

struct pcap_port {
	struct sc_port port;
	FILE *in, *out;
	int error;			/* reading ended with it */
	bool swapped;
	uint32_t linktype;
	uint32_t seconds, micros;	/* of the packet read last: what is sent bears it */
	uint32_t units_per_us;		/* 1, or 1000 in a file of nanoseconds */
	uint8_t record[SC_PCAP_RECORD_MAX];
};

static uint32_t field(const struct pcap_port *t, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return t->swapped ? __builtin_bswap32(v) : v;
}

/* 1: a record of *len bytes is in t->record; 0: end of file; -errno. */
static int read_record(struct pcap_port *t, uint32_t *len)
{
	uint8_t h[RECORD_HEADER];
	size_t n = fread(h, 1, sizeof(h), t->in);

	if (ferror(t->in))
		return -EIO;
	if (n == 0)
		return 0;
	if (n < sizeof(h))
		return -EBADMSG;
	*len = field(t, h + 8);
	if (*len > sizeof(t->record))
		return -EBADMSG;
	if (fread(t->record, 1, *len, t->in) < *len)
		return ferror(t->in) ? -EIO : -EBADMSG;
	t->seconds = field(t, h);
	t->micros = field(t, h + 4) / t->units_per_us;
	return 1;
}

/* Where the IP packet begins in a record; -1: there is none. */
static int find_ip(const struct pcap_port *t, uint32_t len)
{
	uint32_t type_at, at;
	uint16_t type;

	switch (t->linktype) {
	case LINKTYPE_RAW:
	case LINKTYPE_RAW_OLD:
		return len ? 0 : -1;
	case LINKTYPE_ETHERNET:
		type_at = 12;
		at = 14;
		break;
	case LINKTYPE_LINUX_SLL:
		type_at = 14;
		at = 16;
		break;
	default:	/* LINKTYPE_LINUX_SLL2, see open_in() */
		type_at = 0;
		at = 20;
	}
	if (len <= at)
		return -1;
	type = sc_get16(t->record + type_at);
	for (int tags = 0; tags < VLAN_TAGS_MAX && (type == TYPE_VLAN || type == TYPE_QINQ); tags++) {
		if (len <= at + 4)
			return -1;
		type = sc_get16(t->record + at + 2);
		at += 4;
	}
	return type == TYPE_IP4 || type == TYPE_IP6 ? (int)at : -1;
}

static int pcap_receive(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct pcap_port *t = (struct pcap_port *)port;
	unsigned int got = 0;

	while (t->in && got < n) {
		uint32_t len = 0;
		int at;
		int err = t->error ? t->error : read_record(t, &len);

		if (err < 0) {
			t->error = err;
			return got ? (int)got : err;
		}
		if (err == 0)
			break;
		at = find_ip(t, len);
		if (at < 0)
			continue;
		len -= (uint32_t)at;
		if (len > SC_PACKET_MAX) {
			port->rx_dropped++;
			continue;
		}
		memcpy(burst[got].data, t->record + at, len);
		burst[got++].len = len;
	}
	return (int)got;
}

static int pcap_send(struct sc_port *port, struct sc_packet *burst, unsigned int n)
{
	struct pcap_port *t = (struct pcap_port *)port;
	int sent = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t h[4] = { t->seconds, t->micros, burst[i].len, burst[i].len };

		if (t->out && (fwrite(h, sizeof(h), 1, t->out) != 1 ||
			       fwrite(burst[i].data, 1, burst[i].len, t->out) != burst[i].len)) {
			port->tx_errors++;
			burst[i].len = 0;
		} else {
			sent++;
		}
	}
	if (t->out && fflush(t->out))
		return -errno;
	return sent;
}

uint64_t sc_port_pcap_time_us(const struct sc_port *port)
{
	const struct pcap_port *t = (const struct pcap_port *)port;

	return t->seconds * SC_S + t->micros;
}

static void pcap_close(struct sc_port *port)
{
	struct pcap_port *t = (struct pcap_port *)port;

	if (t->in)
		fclose(t->in);
	if (t->out)
		fclose(t->out);
	free(t);
}

static const struct sc_port_ops pcap_ops = {
	.receive = pcap_receive,
	.send = pcap_send,
	.close = pcap_close,
};

static int open_in(struct pcap_port *t, const char *name)
{
	uint8_t h[FILE_HEADER];
	uint32_t magic;

	t->in = fopen(name, "rbe");
	if (!t->in)
		return -errno;
	if (fread(h, 1, sizeof(h), t->in) < sizeof(h))
		return ferror(t->in) ? -EIO : -EBADMSG;
	magic = field(t, h);
	if (magic == MAGIC_PCAPNG)
		return -EPROTONOSUPPORT;
	if (magic != MAGIC_US && magic != MAGIC_NS) {
		t->swapped = true;
		magic = field(t, h);
	}
	if (magic != MAGIC_US && magic != MAGIC_NS)
		return -EBADMSG;
	t->units_per_us = magic == MAGIC_NS ? 1000 : 1;
	t->linktype = field(t, h + 20) & 0xffff;	/* above are checksum lengths */
	switch (t->linktype) {
	case LINKTYPE_ETHERNET:
	case LINKTYPE_RAW_OLD:
	case LINKTYPE_RAW:
	case LINKTYPE_LINUX_SLL:
	case LINKTYPE_LINUX_SLL2:
		return 0;
	default:
		return -EPROTONOSUPPORT;
	}
}

static int open_out(struct pcap_port *t, const char *name)
{
	/* Version 2.4, no time zone, longest packet, link type. */
	uint32_t h[6] = { MAGIC_US, 0, 0, 0, SC_PACKET_MAX, LINKTYPE_RAW };
	uint16_t version[2] = { 2, 4 };

	t->out = fopen(name, "wbe");
	if (!t->out)
		return -errno;
	memcpy(&h[1], version, sizeof(version));
	return fwrite(h, sizeof(h), 1, t->out) == 1 ? 0 : -EIO;
}

int sc_port_pcap_open(const char *in, const char *out, struct sc_port **port)
{
	struct pcap_port *t = calloc(1, sizeof(*t));
	int err = 0;

	if (!t)
		return -ENOMEM;
	t->port.ops = &pcap_ops;
	t->port.fd = -1;
	if (in)
		err = open_in(t, in);
	if (!err && out)
		err = open_out(t, out);
	if (err) {
		pcap_close(&t->port);
		return err;
	}
	*port = &t->port;
	return 0;
}
