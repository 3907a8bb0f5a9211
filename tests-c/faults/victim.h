/* A peer that is killed somewhere in its life: see killed.c. */
#ifndef VICTIM_H
#define VICTIM_H

#include "faults.h"

/* Where it dies: after a time; at a system call, before or after it; after so many instructions. */
enum death { AT_A_TIME, BEFORE_A_CALL, AFTER_A_CALL, AT_AN_INSTRUCTION, DEATHS };
extern const char *const death_names[];

/* What the victim writes down as it goes, in memory that both see. */
struct notes {
    volatile bool go;         /* the survivor's: begin */
    volatile uint64_t tried;  /* bytes given to write so far, counted before the call */
    volatile uint64_t written; /* bytes that write said it has written */
    volatile uint64_t wanted; /* bytes that were read at most, counted before the call */
    volatile uint64_t got;    /* bytes that read said it has read */
    volatile bool wrong;      /* a wrong byte came */
    volatile bool connected;
    volatile bool closing;
};

/* What each side writes is a stream of its own. */
#define FROM_VICTIM 11
#define FROM_SURVIVOR 12

/* Lives until it is killed, or has closed in order: does not return. */
void live(enum role role, enum death death, const char *path, struct notes *notes) __attribute__((noreturn));

#endif
