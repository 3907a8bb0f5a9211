//! Starts the two processes of a measurement and collects their results.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::links::{files, spin};
use crate::mechanism::Mechanism;
use crate::memory::Shared;
use crate::peer::{Peer, Side};
use crate::plan::{round_trip, Cell, Cores, Work};
use crate::Result;

/// The results of one round: names and numbers.
pub type Values = BTreeMap<String, f64>;

/// The settings of the measurements.
#[derive(Clone)]
pub struct Runner {
    /// The worker program: this one, or that of an earlier build.
    pub program: PathBuf,
    /// This library with the C interface.
    pub own_library: PathBuf,
    /// Xen's.
    pub xen_library: PathBuf,
    /// The shim for it.
    pub shim: PathBuf,
    /// The processors of both processes.
    pub cpus: [usize; 2],
    /// The duration of each measurement.
    pub length: Duration,
    /// The disabled mechanism.
    pub without: Option<Mechanism>,
}

/// One of the processes. Killed when dropped.
struct Worker {
    child: Child,
    lines: Receiver<String>,
    deadline: Instant,
}

impl Worker {
    fn start(mut command: Command, keep: &[OwnedFd], limit: Duration) -> Result<Worker> {
        let keep: Vec<_> = keep.iter().map(AsRawFd::as_raw_fd).collect();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: only fcntl between fork and exec.
        unsafe {
            command.pre_exec(move || {
                for &fd in &keep {
                    if libc::fcntl(fd, libc::F_SETFD, 0) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let (sender, lines) = channel();
        thread::spawn(move || out.lines().map_while(|line| line.ok()).try_for_each(|line| sender.send(line)));
        Ok(Worker { child, lines, deadline: Instant::now() + limit })
    }

    fn line(&mut self) -> Result<String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => "timed out".into(),
            RecvTimeoutError::Disconnected => "one of the processes failed".into(),
        })
    }

    fn ready(&mut self) -> Result<()> {
        match &*self.line()? {
            "ready" => Ok(()),
            other => Err(format!("a worker printed {other:?}, expected `ready`").into()),
        }
    }

    fn go(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().ok_or("no standard input")?;
        Ok(stdin.write_all(b"go\n")?)
    }

    fn values(&mut self) -> Result<Values> {
        let mut values = Values::new();
        loop {
            let line = self.line()?;
            if line == "done" {
                return Ok(values);
            }
            let (name, value) = line.split_once('=').ok_or_else(|| format!("not understood: {line:?}"))?;
            values.insert(name.to_owned(), value.parse()?);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input ends it; a process that hangs is killed.
        drop(self.child.stdin.take());
        let patience = Instant::now() + Duration::from_secs(2);
        while Instant::now() < patience {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
        // Fails if it has just ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The descriptors that each side inherits besides the control page, the client's first.
fn descriptors(peer: Peer, ring: usize) -> Result<[Vec<OwnedFd>; 2]> {
    let pair = |(one, other): (files::Ends, files::Ends)| [Vec::from(one), Vec::from(other)];
    Ok(match peer {
        Peer::Pipe => pair(files::pipes(ring)?),
        Peer::Unix => pair(files::unix()?),
        Peer::Tcp => pair(files::tcp()?),
        Peer::Spin => {
            let fd = Shared::create(spin::size(ring))?;
            [vec![fd.try_clone()?], vec![fd]]
        }
        _ => [Vec::new(), Vec::new()],
    })
}

/// A directory in memory: on a disk the rings would be written back.
fn machine() -> Result<tempfile::TempDir> {
    let base = Path::new("/dev/shm");
    let base = if base.is_dir() { base.to_owned() } else { std::env::temp_dir() };
    let private = Permissions::from_mode(0o700);
    Ok(tempfile::Builder::new().prefix("vchan-bench.").permissions(private).tempdir_in(base)?)
}

impl Runner {
    /// The reason why a peer cannot be measured here, if any.
    pub fn missing(&self, peer: Peer) -> Option<String> {
        let missing = |path: &Path, what: &str| {
            let found = !path.is_absolute() || path.exists();
            (!found).then(|| format!("{} is missing: {what}", path.display()))
        };
        let (one, other) = peer.sides();
        if peer.on_shim() {
            return missing(&self.shim, "`make -C tests-c shim` builds it, --shim names another")
                .or_else(|| missing(&self.xen_library, "--xen-library names another"));
        }
        let own = [one, other].contains(&Side::Cabi);
        own.then(|| missing(&self.own_library, "`cargo build --release -p vchan-rs-capi` builds it"))?
    }

    /// The current distance of the processors: a bare ring's round trip in microseconds.
    pub fn distance(&self) -> Result<f64> {
        let short = Runner { length: Duration::from_millis(20), ..self.clone() };
        short
            .measure(Peer::Spin, &round_trip(Cores::Own, 0))?
            .get("p50")
            .copied()
            .ok_or_else(|| "no round trip".into())
    }

    /// Measures one cell of one peer, once.
    pub fn measure(&self, peer: Peer, cell: &Cell) -> Result<Values> {
        let limit = Duration::from_secs(10) + self.length * 4;
        let machine = machine()?;
        let control = Control::create()?;
        let [client_fds, server_fds] = descriptors(peer, cell.ring)?;
        let start = |client: bool, fds: Vec<OwnedFd>| -> Result<Worker> {
            let mut keep = vec![control.as_fd().try_clone_to_owned()?];
            keep.extend(fds);
            let command = self.command(peer, cell, client, &keep, machine.path(), limit)?;
            let mut worker = Worker::start(command, &keep, limit)?;
            worker.ready()?;
            Ok(worker)
        };
        if peer == Peer::Memcpy {
            let mut worker = start(true, client_fds)?;
            worker.go()?;
            let values = worker.values()?;
            return Ok(combine(cell.work, &values, &values));
        }
        let mut server = start(false, server_fds)?;
        let mut client = start(true, client_fds)?;
        server.go()?;
        client.go()?;
        let (writer, reader) = (client.values()?, server.values()?);
        Ok(combine(cell.work, &writer, &reader))
    }

    fn command(
        &self,
        peer: Peer,
        cell: &Cell,
        client: bool,
        keep: &[OwnedFd],
        machine: &Path,
        limit: Duration,
    ) -> Result<Command> {
        let (writer, reader) = peer.sides();
        let library = match if client { writer } else { reader } {
            Side::C => &self.xen_library,
            _ => &self.own_library,
        };
        let cpu = match cell.cores {
            Cores::Own => self.cpus[usize::from(client)],
            Cores::One => self.cpus[0],
        };
        let fds: Vec<String> = keep.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        let mut command = Command::new(&self.program);
        if let Some(mechanism) = self.without {
            command.env("VCHAN_WITHOUT", mechanism.name());
        }
        command.arg("worker").args(["--peer", &peer.key(), "--cell", &cell.to_string()]);
        command.args(["--cpu", &cpu.to_string(), "--millis", &self.length.as_millis().to_string()]);
        command.args(["--limit", &limit.as_secs().to_string(), "--fds", &fds.join(",")]);
        command.arg("--library").arg(library).args(client.then_some("--client"));
        let domid = if client { "1" } else { "0" };
        command.env("XEN_ROOT", machine).env("VCHAN_TRANSPORT", "unix").env("VCHAN_DOMID", domid);
        command.env("XENSHIM_DIR", machine).env("XENSHIM_DOMID", domid);
        if peer.on_shim() {
            command.env("LD_PRELOAD", &self.shim);
        }
        Ok(command)
    }
}

/// Combines the results of the writer and the reader.
fn combine(work: Work, writer: &Values, reader: &Values) -> Values {
    const MIB: f64 = (1 << 20) as f64;
    const GIB: f64 = (1 << 30) as f64;
    let get = |values: &Values, name: &str| values.get(name).copied().unwrap_or(f64::NAN);
    let sum = |name: &str| get(writer, name) + get(reader, name);
    let mut values = Values::new();
    let mut put = |name: &str, value: f64| values.insert(name.to_owned(), value);
    match work {
        Work::OneWay | Work::Many { .. } => {
            put("gib_s", get(reader, "rate") / GIB);
            put("cpu_s_per_gib", sum("cpu") * GIB);
            put("sleeps_per_mib", sum("sleeps") * MIB);
            put("notifications_per_mib", sum("notifications") * MIB);
        }
        Work::BothWays => {
            put("gib_s", sum("rate") / GIB);
            put("cpu_s_per_gib", sum("cpu") * GIB / 2.0);
            put("sleeps_per_mib", sum("sleeps") * MIB / 2.0);
            put("notifications_per_mib", sum("notifications") * MIB / 2.0);
        }
        Work::RoundTrip { think } => {
            put("cpu_us", sum("cpu") * 1e6);
            put("cpu_us_less_thinking", sum("cpu") * 1e6 - f64::from(think));
            put("sleeps", sum("sleeps"));
            put("notifications", sum("notifications"));
            for (name, ns) in writer {
                if name == "mean" || name.starts_with('p') {
                    put(name, ns / 1e3);
                }
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, f64)]) -> Values {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn combining() {
        let gib = (1u64 << 30) as f64;
        let side =
            |rate, cpu| values(&[("rate", rate), ("cpu", cpu), ("sleeps", 0.0), ("notifications", 1.0)]);
        let (writer, reader) = (side(7.0, 1.0 / gib), side(2.0 * gib, 3.0 / gib));
        let one_way = combine(Work::OneWay, &writer, &reader);
        assert_eq!((one_way["gib_s"], one_way["cpu_s_per_gib"]), (2.0, 4.0));
        assert_eq!(one_way["notifications_per_mib"], 2.0 * 1024.0 * 1024.0);
        let both = combine(Work::BothWays, &reader, &reader);
        assert_eq!((both["gib_s"], both["cpu_s_per_gib"]), (4.0, 3.0));

        let pinger = values(&[("cpu", 30e-6), ("p50", 1500.0), ("mean", 2000.0)]);
        let round = combine(Work::RoundTrip { think: 20 }, &pinger, &values(&[("cpu", 10e-6)]));
        assert!((round["cpu_us"] - 40.0).abs() < 1e-9 && (round["cpu_us_less_thinking"] - 20.0).abs() < 1e-9);
        assert_eq!((round["p50"], round["mean"]), (1.5, 2.0));
    }
}
