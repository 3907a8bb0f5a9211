/*
 * agent NAME: runs commands for the tests in dom0 or a guest, any number at a time. It reads lines and writes lines, on
 * its standard input and output, which lead to the runner outside, in a guest by way of dom0's agent:
 *   in   PLACE ID run [VARIABLE=VALUE...] PROGRAM ARGUMENT...   PLACE ID sh COMMAND
 *        PLACE ID kill SIGNAL JOB        PLACE ID sweep (kills every job)        PLACE ID console GUEST TTY
 *   out  @PLACE ID|output   @PLACE ID=status   @PLACE 0!ready   @PLACE 0!gone
 * A shell would start several processes per job, which is slow under emulation.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "grants.h"

#define MOST 128
#define LINE 4096

/* A source of lines: a job's output, a guest's console, the runner. */
struct source {
	int fd;
	pid_t pid;       /* of a job */
	char name[32];   /* a job's id or a guest's name */
	char line[LINE];
	size_t length;
};

static struct source sources[MOST];
static const char *own_name;

static void say(const char *format, ...)
{
	char line[LINE + 128];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (length > (int)sizeof(line) - 1)
		length = sizeof(line) - 1;
	for (int done = 0, step; done < length; done += step) {
		step = write(1, line + done, length - done);
		if (step <= 0)
			exit(1);
	}
}

static struct source *source_new(int fd, pid_t pid, const char *name)
{
	for (int i = 1; i < MOST; i++) {
		if (sources[i].fd >= 0)
			continue;
		sources[i] = (struct source){ .fd = fd, .pid = pid };
		snprintf(sources[i].name, sizeof(sources[i].name), "%s", name);
		return &sources[i];
	}
	return NULL;
}

static struct source *source_find(const char *name, bool job)
{
	for (int i = 1; i < MOST; i++)
		if (sources[i].fd >= 0 && !sources[i].pid == !job && !strcmp(sources[i].name, name))
			return &sources[i];
	return NULL;
}

static void raw(int fd)
{
	struct termios mode;

	if (tcgetattr(fd, &mode))
		return;
	cfmakeraw(&mode);
	tcsetattr(fd, TCSANOW, &mode);
}

/* The child of a job: executes the program, or a command of the agent itself. */
static void become(char *command, bool shell)
{
	char *words[64], *word;
	int count = 0;

	if (shell) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	for (word = strtok(command, " "); word && count < 63; word = strtok(NULL, " ")) {
		if (!count && strchr(word, '='))
			putenv(word);
		else
			words[count++] = word;
	}
	words[count] = NULL;
	if (count && !strcmp(words[0], "grants"))
		exit(grants(count - 1, words + 1));
	if (count)
		execvp(words[0], words);
	fprintf(stderr, "agent: cannot run %s: %s\n", count ? words[0] : "nothing", strerror(errno));
	_exit(127);
}

static void job_start(const char *id, char *command, bool shell)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0) {
		say("@%s %s|agent: %s\n@%s %s=126\n", own_name, id, strerror(errno), own_name, id);
		return;
	}
	if (!pid) {
		setpgid(0, 0);
		dup2(open("/dev/null", O_RDWR | O_CLOEXEC), 0);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		become(command, shell);
	}
	setpgid(pid, pid);
	close(ends[1]);
	source_new(ends[0], pid, id);
}

static void console_open(const char *id, char *guest, const char *tty)
{
	int fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		say("@%s %s|agent: %s: %s\n@%s %s=1\n", own_name, id, tty, strerror(errno), own_name, id);
		return;
	}
	raw(fd);
	source_new(fd, 0, guest);
	say("@%s %s=0\n", own_name, id);
}

static void sweep(void)
{
	for (int i = 1; i < MOST; i++)
		if (sources[i].fd >= 0 && sources[i].pid)
			kill(-sources[i].pid, SIGKILL);
}

static void obey(char *line)
{
	char *place = strsep(&line, " "), *id, *verb, *word;
	struct source *target;

	if (!line)
		return;
	if (strcmp(place, own_name)) {
		target = source_find(place, false);
		if (target)
			dprintf(target->fd, "%s %s\n", place, line);
		return;
	}
	id = strsep(&line, " ");
	verb = strsep(&line, " ");
	if (!verb)
		return;
	if (!strcmp(verb, "sweep")) {
		sweep();
		say("@%s %s=0\n", own_name, id);
	} else if (!line) {
		say("@%s %s=64\n", own_name, id);
	} else if (!strcmp(verb, "run") || !strcmp(verb, "sh")) {
		job_start(id, line, *verb == 's');
	} else if (!strcmp(verb, "kill")) {
		word = strsep(&line, " ");
		target = line ? source_find(line, true) : NULL;
		say("@%s %s=%d\n", own_name, id, !target || kill(target->pid, atoi(word)));
	} else if (!strcmp(verb, "console")) {
		word = strsep(&line, " ");
		console_open(id, word, line ? line : "");
	}
}

static void said(struct source *source)
{
	if (source == sources)
		obey(source->line);
	else if (source->pid)
		say("@%s %s|%s\n", own_name, source->name, source->line);
	else if (source->line[0] == '@')
		say("%s\n", source->line);
	source->length = 0;
}

static void ended(struct source *source)
{
	int status;

	if (source->length) {
		source->line[source->length] = 0;
		said(source);
	}
	close(source->fd);
	source->fd = -1;
	if (source == sources)
		exit(0);
	if (!source->pid) {
		say("@%s 0!gone\n", source->name);
		return;
	}
	waitpid(source->pid, &status, 0);
	say("@%s %s=%d\n", own_name, source->name,
	    WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void listen_to(struct source *source)
{
	char buffer[1024];
	ssize_t got = read(source->fd, buffer, sizeof(buffer));

	if (got <= 0) {
		ended(source);
		return;
	}
	for (ssize_t i = 0; i < got; i++) {
		if (buffer[i] == '\n') {
			source->line[source->length] = 0;
			said(source);
		} else if (buffer[i] != '\r' && source->length < LINE - 1) {
			source->line[source->length++] = buffer[i];
		}
	}
}

int main(int argc, char **argv)
{
	struct pollfd polled[MOST];

	if (argc != 2) {
		fputs("usage: agent NAME\n", stderr);
		return 64;
	}
	own_name = argv[1];
	for (int i = 1; i < MOST; i++)
		sources[i].fd = -1;
	raw(0);
	say("\n@%s 0!ready\n", own_name);
	for (;;) {
		/* poll() ignores descriptors of -1. */
		for (int i = 0; i < MOST; i++)
			polled[i] = (struct pollfd){ .fd = sources[i].fd, .events = POLLIN };
		if (poll(polled, MOST, -1) < 0)
			return 1;
		for (int i = 0; i < MOST; i++)
			if (polled[i].revents && sources[i].fd == polled[i].fd)
				listen_to(&sources[i]);
	}
}
