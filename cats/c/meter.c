#include "meter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "size.h"

void meter_start(struct meter *meter)
{
    meter->start = now();
    atomic_init(&meter->sent, 0);
    atomic_init(&meter->received, 0);
    atomic_init(&meter->last_moved, meter->start);
    atomic_init(&meter->last_received, meter->start);
}

void meter_sent(struct meter *meter, size_t count)
{
    atomic_fetch_add(&meter->sent, count);
    meter_moved(meter);
}

void meter_received(struct meter *meter, size_t count)
{
    atomic_fetch_add(&meter->received, count);
    atomic_store(&meter->last_received, now());
    meter_moved(meter);
}

void meter_moved(struct meter *meter)
{
    atomic_store(&meter->last_moved, now());
}

void progress_start(struct progress *progress, bool wanted)
{
    memset(progress, 0, sizeof(*progress));
    progress->shows = wanted && isatty(STDERR_FILENO);
}

void progress_show(struct progress *progress, const struct meter *meter)
{
    uint64_t sent = atomic_load(&meter->sent), received = atomic_load(&meter->received), rate = 0;
    int64_t moment = now(), since, lasted = (moment - meter->start) / SECOND;

    if (!progress->shows)
        return;
    if (progress->moments[0] == 0)
        progress->moments[0] = progress->moments[1] = meter->start;
    if (moment - progress->moments[1] >= SECOND) {
        progress->moments[0] = progress->moments[1];
        progress->counts[0] = progress->counts[1];
        progress->moments[1] = moment;
        progress->counts[1] = sent + received;
    }
    since = moment - progress->moments[0];
    if (since > 0)
        rate = (uint64_t)((double)(sent + received - progress->counts[0]) * (double)SECOND / (double)since);
    fprintf(stderr, "\rsent %s, received %s, %s/s [%02" PRId64 ":%02" PRId64 ":%02" PRId64 "]\033[K", human(sent).text,
            human(received).text, human(rate).text, lasted / 3600, lasted / 60 % 60, lasted % 60);
}

void progress_finish(const struct progress *progress)
{
    if (progress->shows)
        fputc('\n', stderr);
}
