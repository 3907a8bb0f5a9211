//! One of the two processes of a measurement. It communicates with its parent over standard input and output:
//! prints `ready` when it is set up, waits for `go`, prints its results and waits for the end of its input,
//! so that both ends stay open until both are done.

use std::io::{BufRead, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nix::sched::{sched_setaffinity, CpuSet};
use nix::unistd::{alarm, Pid};
use vchan::transport::Role;

use crate::control::Control;
use crate::links::files::FileLink;
use crate::links::libxenvchan::CLink;
use crate::links::rust::RustLink;
use crate::links::spin::SpinLink;
use crate::links::Link;
use crate::peer::{Peer, Side};
use crate::plan::{Cell, Work};
use crate::work::{self, Findings, Run};
use crate::{many, Result};

/// The arguments of a worker.
#[derive(Args, Debug)]
pub struct Task {
    /// Whether it connects; the connecting one writes.
    #[arg(long)]
    pub client: bool,
    /// The peer.
    #[arg(long)]
    pub peer: Peer,
    /// The cell.
    #[arg(long)]
    pub cell: Cell,
    /// The processor that it runs on.
    #[arg(long)]
    pub cpu: usize,
    /// The duration of the measurement.
    #[arg(long)]
    pub millis: u64,
    /// The number of seconds after which it is killed.
    #[arg(long)]
    pub limit: u32,
    /// The inherited descriptors: the control page, then those of the peer.
    #[arg(long, value_delimiter = ',')]
    pub fds: Vec<RawFd>,
    /// The library with the C interface.
    #[arg(long)]
    pub library: PathBuf,
}

/// Runs the measurement.
pub fn work(task: &Task) -> Result<()> {
    alarm::set(task.limit);
    let mut cpus = CpuSet::new();
    cpus.set(task.cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    // SAFETY: descriptors that this process has inherited for this.
    let mut fds = task.fds.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let mut next = || fds.next().ok_or("a descriptor is missing");
    let run = Run { length: Duration::from_millis(task.millis), control: Control::map(next()?)? };

    let (role, (writer, reader)) = (role(task), task.peer.sides());
    let (ring, batches) = (task.cell.ring, task.peer.batches());
    let name = |n| format!("/local/domain/0/data/vchan/1/bench-{n}");
    match if task.client { writer } else { reader } {
        Side::Rust => {
            let on_shim = task.peer.on_shim();
            let open = |n| RustLink::open(role, &name(n), ring, on_shim, batches);
            vchans(task, &run, open, RustLink::accept)
        }
        Side::Cabi | Side::C => {
            let open = |n| CLink::open(&task.library, role, &name(n), ring, batches);
            vchans(task, &run, open, CLink::accept)
        }
        Side::Files => one(task, &run, FileLink::new([next()?, next()?])),
        Side::Spin => one(task, &run, SpinLink::new(next()?, ring, usize::from(!task.client))?),
        Side::Memcpy => {
            wait_for_go()?;
            tell(work::copy(&run, task.cell.size, ring)?)
        }
    }
}

fn role(task: &Task) -> Role {
    if task.client {
        Role::Client
    } else {
        Role::Server
    }
}

fn vchans<L: Link>(
    task: &Task,
    run: &Run,
    open: impl Fn(usize) -> Result<L>,
    accept: impl Fn(L) -> Result<L>,
) -> Result<()> {
    let channels = match task.cell.work {
        Work::Many { channels } => channels,
        _ => 1,
    };
    let links = (0..channels).map(open).collect::<Result<Vec<L>>>()?;
    wait_for_go()?;
    let mut links = links.into_iter().map(accept).collect::<Result<Vec<L>>>()?;
    let found = match (task.cell.work, task.client) {
        (Work::Many { .. }, true) => many::write(run, &mut links, task.cell.size)?,
        (Work::Many { .. }, false) => many::read(run, &mut links, task.cell.size)?,
        _ => single(task, run, &mut links[0])?,
    };
    tell(found)
}

fn one(task: &Task, run: &Run, mut link: impl Link) -> Result<()> {
    wait_for_go()?;
    tell(single(task, run, &mut link)?)
}

fn single(task: &Task, run: &Run, link: &mut impl Link) -> Result<Findings> {
    let size = task.cell.size;
    match (task.cell.work, task.client) {
        (Work::OneWay, true) => work::write_stream(run, link, size),
        (Work::OneWay, false) => work::read_stream(run, link, size),
        (Work::BothWays, client) => work::both_ways(run, link, size, usize::from(!client)),
        (Work::RoundTrip { think }, true) => work::ping(run, link, Duration::from_micros(think.into())),
        (Work::RoundTrip { .. }, false) => work::echo(run, link),
        (Work::Many { .. }, _) => Err("this peer does not support many channels".into()),
    }
}

fn wait_for_go() -> Result<()> {
    say("ready\n")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    match &*line {
        "go\n" => Ok(()),
        _ => Err("the input ended before `go`".into()),
    }
}

fn tell(found: Findings) -> Result<()> {
    let mut text: String = found.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    text += "done\n";
    say(&text)?;
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
