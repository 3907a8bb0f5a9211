/* A peer killed somewhere in its life: see killed.c. */
#ifndef VICTIM_H
#define VICTIM_H

#include "faults.h"

/* The point of death: after a time; before or after a system call; after a number of instructions. */
enum death { AT_A_TIME, BEFORE_A_CALL, AFTER_A_CALL, AT_AN_INSTRUCTION, DEATHS };
extern const char *const death_names[];

/* The victim's records, in shared memory. */
struct notes {
    volatile bool go;         /* set by the survivor: start */
    volatile uint64_t tried;  /* bytes given to write so far, counted before the call */
    volatile uint64_t written; /* bytes reported as written */
    volatile uint64_t wanted; /* upper limit of bytes read, counted before the call */
    volatile uint64_t got;    /* bytes reported as read */
    volatile bool wrong;      /* a wrong byte arrived */
    volatile bool connected;
    volatile bool closing;
};

/* Each side writes its own stream. */
#define FROM_VICTIM 11
#define FROM_SURVIVOR 12

/* Lives until it is killed, or has closed cleanly; does not return. */
void live(enum role role, enum death death, const char *path, struct notes *notes) __attribute__((noreturn));

#endif
