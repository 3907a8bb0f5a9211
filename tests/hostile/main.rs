//! A peer that writes arbitrary values into the shared memory and misuses events, against every call of the
//! library: a bounded run of `make fuzz`.
//!
//! Each script is generated from a seed. A failure prints it; `VCHAN_SEED=<seed> cargo test --test hostile
//! <test>` runs that script alone. At its end each test prints on standard error how often each action was
//! tried.

mod back;
mod cut_off;
mod engine;
mod runs;
mod unix;

use engine::{ask_daemon, pure, race, step, ACTS, BOTH, ENDING, RARE_ACTS, READING, WRITING};

#[test]
fn lockstep() {
    let tally = runs::run("lockstep", 4000, 400, step);
    tally.assert_tried(&ACTS, &["success", "corrupt", "peer-closed", "timed-out", "would-block", "closed"]);
    tally.assert_tried(&RARE_ACTS, &["peer-died", "packet-too-large", "refused-corrupt", "refused-grants"]);
    tally.assert_called(&[&READING[..], &WRITING, &BOTH, &ENDING].concat());
}

/// Inputs that once failed in `make fuzz`.
#[test]
fn fuzzer_regressions() {
    let wrong_orders = [
        0, 248, 0, 255, 255, 255, 10, 0, 0, 0, 0, 0, 0, 0, 28, 255, 255, 255, 255, 0, 155, 25, 255, 2, 28,
        60, 114, 101, 115, 101, 154, 202, 0,
    ];
    let tally = step(&wrong_orders);
    tally.assert_called(&["reserve-commit"]);
}

#[test]
fn racing() {
    let tally = runs::run("racing", 1500, 1000, race);
    tally.assert_tried(&ACTS, &["success", "corrupt", "peer-closed", "timed-out", "would-block"]);
}

#[test]
fn calculations_and_texts() {
    let tally = runs::run("calculations and texts", 4000, 600, pure);
    tally.assert_tried(&["orders", "configuration-text", "path", "packets"], &[]);
}

#[test]
fn hostile_xenstored() {
    let tally = runs::run("hostile xenstored", 1500, 400, ask_daemon);
    let results = [
        "xs-success",
        "xs-refused",
        "xs-protocol",
        "xs-timed-out",
        "xs-connection",
        "xs-closed",
        "xs-invalid",
    ];
    tally.assert_tried(
        &["daemon-garbage", "daemon-silent", "daemon-hangs-up", "daemon-wrong-length"],
        &results,
    );
}
