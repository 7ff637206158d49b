/* The published flow mix: P. Jurkiewicz, G. Rzym, P. Borylo, "Flow length and size
 * distributions in campus Internet traffic" (Computer Communications, 2021;
 * arXiv:1809.03486), data set agh_201506 of github.com/piotrjurkiewicz/flow-models:
 * 4 032 376 751 flows of 78.578370 packets on average. Its table gives, for flows of up to
 * so many packets, their share of all flows and of all packets. In between, lengths follow
 * the power law that gives each row its share of packets. */
#include <math.h>

#include "survival.h"

#define MEAN_PACKETS	78.578370
#define LONGEST_PACKETS	10e6		/* the table ends at a million; 0.0002% of flows are longer */

static const struct {
	double up_to, flows, packets;	/* percent */
} published[] = {
	{ 0, 0, 0 },
	{ 1, 47.8326, 0.6087 },
	{ 2, 65.3421, 1.0544 },
	{ 4, 74.8933, 1.4696 },
	{ 8, 84.1319, 2.1958 },
	{ 10, 86.5086, 2.4832 },
	{ 100, 97.3478, 6.3895 },
	{ 1e3, 99.4544, 14.3271 },
	{ 1e4, 99.8922, 30.3569 },
	{ 1e5, 99.9896, 67.8990 },
	{ 1e6, 99.9998, 93.5945 },
	{ LONGEST_PACKETS, 100, 100 },
};
enum { ROWS = sizeof(published) / sizeof(published[0]) };

/* The mean of x^-alpha on low .. high. */
static double mean_of(double alpha, double low, double high)
{
	double p = 1 - alpha, q = 2 - alpha;

	return p / q * (pow(high, q) - pow(low, q)) / (pow(high, p) - pow(low, p));
}

static double exponent_of(int row)
{
	double low = published[row - 1].up_to + 0.5, high = published[row].up_to + 0.5;
	double flows = published[row].flows - published[row - 1].flows;
	double packets = published[row].packets - published[row - 1].packets;
	double mean = packets * MEAN_PACKETS / flows, from = -20.0001, to = 20.0001;

	for (int i = 0; i < 60; i++) {
		double alpha = (from + to) / 2;

		if (mean_of(alpha, low, high) > mean)
			from = alpha;
		else
			to = alpha;
	}
	return from;
}

uint64_t sv_mix_draw(struct rng *r)
{
	static double alpha[ROWS];
	double percent = (double)(rng_next(r) >> 11) * 0x1p-53 * 100, u = (double)(rng_next(r) >> 11) * 0x1p-53;
	double low, high, p;
	int row = 1;

	while (row < ROWS - 1 && percent >= published[row].flows)
		row++;
	if (published[row].up_to - published[row - 1].up_to == 1)
		return (uint64_t)published[row].up_to;
	if (alpha[row] == 0)
		alpha[row] = exponent_of(row);
	p = 1 - alpha[row];
	low = pow(published[row - 1].up_to + 0.5, p);
	high = pow(published[row].up_to + 0.5, p);
	return (uint64_t)(pow(low + u * (high - low), 1 / p) + 0.5);
}
