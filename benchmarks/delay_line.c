/* A network link with a delay, for kernels that have no netem.
 *
 * usage: delay_line MICROSECONDS NETNS NEAR FAR
 *
 * Makes the TUN device NEAR here and FAR in the network namespace NETNS (of `ip netns add`) and
 * carries every packet from one to the other, MICROSECONDS later. SIGUSR1 cuts the link and
 * mends it again: packets that are due while it is cut are lost. Prints "ready" when both
 * devices are there; the caller gives them addresses and sets them up. Ends with SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PACKETS = 1 << 15, LARGEST = 1600, BURST = 64 };

struct packet {
    int64_t due;
    int size;
    unsigned char data[LARGEST];
};

/* One direction: a ring of packets, in the order in which they came and are due. */
struct line {
    int in, out;
    unsigned first, count;
    struct packet *ring;
};

static volatile sig_atomic_t cut;

static void toggle(int signal_number)
{
    (void)signal_number;
    cut = !cut;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int make_tun(const char *name)
{
    struct ifreq wish;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fail("/dev/net/tun");
    memset(&wish, 0, sizeof wish);
    wish.ifr_flags = IFF_TUN | IFF_NO_PI;
    strncpy(wish.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &wish) < 0)
        fail(name);
    return fd;
}

static void enter(const char *namespace)
{
    char path[256];
    int fd;
    snprintf(path, sizeof path, "/var/run/netns/%s", namespace);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        fail(path);
    close(fd);
}

/* Take in what has come, as far as there is room. */
static void take(struct line *line, int64_t delay)
{
    for (int n = 0; n < BURST && line->count < PACKETS; n++) {
        struct packet *packet = &line->ring[(line->first + line->count) % PACKETS];
        ssize_t size = read(line->in, packet->data, LARGEST);
        if (size <= 0)
            return;
        packet->size = (int)size;
        packet->due = now() + delay;
        line->count++;
    }
}

/* Hand over what is due. A device that refuses a packet loses it, as a real one would. */
static void deliver(struct line *line)
{
    while (line->count && line->ring[line->first].due <= now()) {
        struct packet *packet = &line->ring[line->first];
        if (!cut && write(line->out, packet->data, packet->size) < 0 && errno == EBADF)
            fail("write");
        line->first = (line->first + 1) % PACKETS;
        line->count--;
    }
}

static void wait_for_work(const struct line *lines)
{
    struct pollfd ready[2] = {{lines[0].in, POLLIN, 0}, {lines[1].in, POLLIN, 0}};
    int64_t soonest = now() + 1000000;
    struct timespec left;
    for (int n = 0; n < 2; n++) {
        if (lines[n].count == PACKETS)
            ready[n].fd = -1; /* full: what comes waits in the device's own queue */
        if (lines[n].count && lines[n].ring[lines[n].first].due < soonest)
            soonest = lines[n].ring[lines[n].first].due;
    }
    soonest -= now();
    if (soonest < 0)
        soonest = 0;
    left.tv_sec = soonest / 1000000;
    left.tv_nsec = soonest % 1000000 * 1000;
    ppoll(ready, 2, &left, NULL);
}

int main(int count, char **words)
{
    struct line lines[2];
    int64_t delay;
    int near, far;
    if (count != 5) {
        fprintf(stderr, "usage: %s MICROSECONDS NETNS NEAR FAR\n", words[0]);
        return 2;
    }
    delay = atoll(words[1]);
    near = make_tun(words[3]);
    enter(words[2]);
    far = make_tun(words[4]);
    lines[0] = (struct line){.in = near, .out = far};
    lines[1] = (struct line){.in = far, .out = near};
    for (int n = 0; n < 2; n++)
        if (!(lines[n].ring = calloc(PACKETS, sizeof *lines[n].ring)))
            fail("memory");
    signal(SIGUSR1, toggle);
    puts("ready");
    fflush(stdout);
    for (;;) {
        for (int n = 0; n < 2; n++) {
            deliver(&lines[n]);
            take(&lines[n], delay);
        }
        wait_for_work(lines);
    }
}
